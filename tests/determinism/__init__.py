"""A gallery of workflows: some break determinism or the rules, others only look as if they did.

The tools of the testing kit are scored on both, see `scores`.
"""
