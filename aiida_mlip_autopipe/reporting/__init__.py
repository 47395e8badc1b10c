"""Describe a dataset: its card, its figures and its report."""
