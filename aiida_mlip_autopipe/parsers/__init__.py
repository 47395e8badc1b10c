"""Parsers of the package's jobs."""
