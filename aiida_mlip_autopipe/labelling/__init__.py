"""Labelling: reference energies, forces and stresses of the structures of a dataset."""

from aiida_mlip_autopipe.jobs.version import LABELLING_VERSION
from aiida_mlip_autopipe.labelling.base import (
    LABELLERS,
    Labeller,
    LabellingSettings,
    ProcessLabeller,
    RunnerLabeller,
    Variation,
)
from aiida_mlip_autopipe.labelling.keys import label_key
from aiida_mlip_autopipe.labelling.label import EnergyKind, Failure, Label, Rule

__all__ = [
    'LABELLERS',
    'LABELLING_VERSION',
    'EnergyKind',
    'Failure',
    'Label',
    'Labeller',
    'LabellingSettings',
    'ProcessLabeller',
    'Rule',
    'RunnerLabeller',
    'Variation',
    'label_key',
]
