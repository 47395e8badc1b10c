"""The kinds of seed, one file each."""
