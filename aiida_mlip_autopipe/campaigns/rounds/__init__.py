"""Campaigns with rounds."""
