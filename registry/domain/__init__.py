"""The rules of the registry: pure, without I/O, a clock or random values."""
