"""Monte Carlo moves, one file each."""
