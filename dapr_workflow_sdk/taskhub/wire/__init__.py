"""The wire: generated messages, and the small helpers that read and build them."""
