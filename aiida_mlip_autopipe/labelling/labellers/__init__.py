"""The labellers, one in each module."""
