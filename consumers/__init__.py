"""Carries events from the log into the read models."""
