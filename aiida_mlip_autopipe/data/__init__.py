"""AiiDA nodes, and the conversion between them and the types of the scientific subpackages."""
