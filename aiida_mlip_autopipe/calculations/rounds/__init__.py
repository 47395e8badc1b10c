"""Calcfunctions of campaigns with rounds."""
