"""Requests that make no sense, in any number: `python -m tests.fuzz --cases 1000000`."""
