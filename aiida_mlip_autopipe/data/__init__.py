"""AiiDA nodes, and their conversion to and from the types of the scientific subpackages."""
