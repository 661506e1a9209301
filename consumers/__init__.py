"""What carries the events from the log into the read models."""
