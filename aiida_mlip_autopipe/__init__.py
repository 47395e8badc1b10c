"""Training data for machine-learning interatomic potentials, from one file, with full provenance."""

__version__ = '0.1.0'
