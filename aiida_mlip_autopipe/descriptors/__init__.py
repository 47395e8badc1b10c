"""Descriptors of frames, and jobs that compute them: SOAP, or the learned descriptors of a calculator."""

DESCRIPTORS_VERSION = '2'
"""Increase this if a change to this subpackage changes the descriptors.

If the environments of SOAP change, also increase `RUNNER_VERSION`, because `exploration.novelty` compares them in jobs.
"""
