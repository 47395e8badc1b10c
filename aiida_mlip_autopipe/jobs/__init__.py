"""Shared by all kinds of job: contract, environment record, interruptions and granted resources."""
