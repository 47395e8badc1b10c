"""Rows of a dataset: labels, origin, level of theory, keys and sets."""
