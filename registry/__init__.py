"""The registry: its rules, its record, and the command that runs it."""
