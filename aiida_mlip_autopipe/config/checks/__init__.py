"""Checks of a config that need more than one of its sections."""
