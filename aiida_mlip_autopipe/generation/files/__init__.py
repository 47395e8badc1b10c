"""Read structures from files, and refuse files that the readers of ASE would misread."""
