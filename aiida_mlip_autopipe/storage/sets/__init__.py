"""Divide a dataset into training, validation and test sets."""
