"""The frames to choose from: candidates, reference dataset and held-out frames."""
