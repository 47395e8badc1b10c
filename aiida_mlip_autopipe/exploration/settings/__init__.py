"""The settings of an exploration, and what identifies them in a job."""
