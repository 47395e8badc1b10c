"""Write datasets to files. Each format has a module."""
