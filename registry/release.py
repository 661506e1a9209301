"""The release of this code: one number for the command, the API, health and metrics."""

RELEASE = "1.0.0"
