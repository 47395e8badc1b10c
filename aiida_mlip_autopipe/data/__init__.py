"""Nodes of the AiiDA graph and their conversion to and from the science's own types."""
