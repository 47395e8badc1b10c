"""Slabs, voids, sites and coincidence lattices."""
