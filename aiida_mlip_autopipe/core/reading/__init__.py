"""Read files that may be damaged or come from someone else: nothing is executed, and sizes are checked first."""
