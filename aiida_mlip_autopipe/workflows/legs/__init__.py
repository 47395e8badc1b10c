"""What explorations and labelling runs take from earlier ones: finished legs, and the files of killed jobs."""
