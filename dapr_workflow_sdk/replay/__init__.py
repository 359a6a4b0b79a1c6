"""Replay: a turn is a function of the definition, the history and the new events. No I/O, no clock, no threads."""
