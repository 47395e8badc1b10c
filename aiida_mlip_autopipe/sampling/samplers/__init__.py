"""The samplers, one in each module."""
