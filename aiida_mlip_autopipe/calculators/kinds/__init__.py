"""The kinds of calculator, one file each."""
