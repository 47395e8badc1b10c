"""Monte Carlo: moves, and the trials that accept or reject them."""
