"""Describe a dataset by its metadata, figures and report card."""
