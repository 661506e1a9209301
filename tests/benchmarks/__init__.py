"""Measured against peers in the same run: what counts are the ratios."""
