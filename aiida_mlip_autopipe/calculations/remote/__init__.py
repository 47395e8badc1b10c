"""Jobs that work on the folder of another job."""
