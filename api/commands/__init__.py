"""The writing door: load, decide, one save."""
