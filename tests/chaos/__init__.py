"""Proof by force: processes killed and disks broken under load, and a model that says what must come out."""
