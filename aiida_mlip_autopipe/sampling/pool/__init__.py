"""The frames of a selection: candidates, reference dataset and held-out frames."""
