"""Slabs, the cells that two surfaces share, stacking sequences and adsorption sites."""
