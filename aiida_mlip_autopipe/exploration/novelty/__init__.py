"""Novelty: which frames of a run are new, and a bias of the dynamics towards them."""
