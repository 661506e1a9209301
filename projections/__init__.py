"""The read models, one folder each."""
