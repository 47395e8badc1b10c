"""The kinds of seeds, one module each."""
