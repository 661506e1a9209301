"""What can be looked up: one file per read model."""
