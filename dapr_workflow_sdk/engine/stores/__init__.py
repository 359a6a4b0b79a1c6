"""Stores: what keeps instances between turns and over restarts."""
