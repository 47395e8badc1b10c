"""The files with the frames of a run."""
