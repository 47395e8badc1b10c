"""Descriptors of frames, and jobs that compute them: SOAP, or the learned descriptors of a calculator."""

DESCRIPTORS_VERSION = '2'
"""Increase this if a change to this subpackage changes the descriptors."""
