"""The reading door: requests answered from the read models, the log and the vault."""
