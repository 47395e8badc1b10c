"""Structures from OPTIMADE databases and the Materials Project."""
