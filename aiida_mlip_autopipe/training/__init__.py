"""Training: the sets of a dataset and the trainers that turn them into a model."""
