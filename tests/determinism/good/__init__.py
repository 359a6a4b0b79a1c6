"""Workflows that look suspicious and are right."""
