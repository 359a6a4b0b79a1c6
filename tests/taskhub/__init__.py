"""Tests of taskhub."""
