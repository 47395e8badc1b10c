"""Training runs: submit them, follow them, and write their models."""
