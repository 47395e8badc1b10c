"""Dynamics that know which structures are new."""
