"""What campaigns did, read from the graph: explanations, and built-in queries."""
