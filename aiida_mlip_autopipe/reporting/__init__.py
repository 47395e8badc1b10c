"""Describe a dataset by its metadata, figures and a report."""
