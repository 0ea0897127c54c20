"""Measures of what a generator makes, as pure functions."""
