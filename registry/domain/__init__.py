"""The rules of the field: pure, without I/O, clock or chance."""
