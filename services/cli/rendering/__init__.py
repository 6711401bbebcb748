"""Renders the sample pictures."""
