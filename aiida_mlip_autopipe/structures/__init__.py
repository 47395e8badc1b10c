"""The data that the stages exchange (seeds, trajectories and rows), and the comparison of structures."""
