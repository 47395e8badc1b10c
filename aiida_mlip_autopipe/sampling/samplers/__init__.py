"""The samplers, one file each, and the algorithms that they share."""
