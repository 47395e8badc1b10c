"""Descriptors of the frames of many trajectories, in a job: SOAP, or what a calculator has learned."""

DESCRIPTION_VERSION = '2'
"""Changes with every change that makes a job give other descriptors."""
