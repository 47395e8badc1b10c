"""Read structures from files, and refuse files that ASE's readers would misread."""
