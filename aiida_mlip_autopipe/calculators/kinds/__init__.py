"""The kinds of calculator, one per file."""
