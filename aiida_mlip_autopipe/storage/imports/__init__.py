"""Import structures that other programs labelled as rows of a dataset. Each source has a module."""
