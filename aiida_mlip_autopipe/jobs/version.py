"""The versions of the methods that jobs use."""

RUNNER_VERSION = '2'
"""Increased by every change that affects the frames of a job. Results and checkpoints of other versions are ignored.

`exploration.novelty` uses SOAP to decide which frames are stored, so a change to the environments of SOAP also
increases this version. """

LABELLING_VERSION = '1'
"""Increased by every change that affects the results of a labelling job, which also evaluates frames for a committee.
Results of other versions are ignored."""

TRAINING_VERSION = '2'
"""Increased by every change that affects the model of a training job. Results of other versions are ignored."""

ASSESSMENT_VERSION = '1'
"""Increased by every change that affects the results of an assessment job. Results of other versions are ignored."""
