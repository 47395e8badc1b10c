"""Statistics of rounds: random labels, error bounds, when to stop, and how many labels a target requires."""
