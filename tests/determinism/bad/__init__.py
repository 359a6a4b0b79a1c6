"""Workflows that break determinism or the rules, each as somebody might write it."""
