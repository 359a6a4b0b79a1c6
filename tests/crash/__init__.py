"""Processes killed at any moment."""
