"""What can be looked up: one folder per read model."""
