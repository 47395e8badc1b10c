"""The version of the runner's science."""

RUNNER_VERSION = '2'
"""Changes with every change that makes a job give other frames; results and checkpoints of another one are not used."""
