"""Slabs, voids, adsorption sites, symmetry-distinct sites and coincidence lattices."""
