"""What a dataset is like: its card, its figures and its report."""
