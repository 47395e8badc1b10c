"""Structures from OPTIMADE databases and from the Materials Project."""
