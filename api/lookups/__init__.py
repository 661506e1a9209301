"""The reading door: read models, the log and the vault."""
