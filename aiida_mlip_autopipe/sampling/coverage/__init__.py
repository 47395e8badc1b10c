"""Measures of how well a selection covers its candidates."""
