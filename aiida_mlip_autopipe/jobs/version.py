"""The versions of the science that jobs do."""

RUNNER_VERSION = '2'
"""Changes with every change that makes a job give other frames; results and checkpoints of another one are not used."""

EVALUATION_VERSION = '1'
"""Changes with every change that makes an evaluation of the same frames give other numbers."""
