"""The writing door: requests that record events."""
