"""Losses of image restoration, as functions and as modules."""
