"""What may be recorded, and the record."""
