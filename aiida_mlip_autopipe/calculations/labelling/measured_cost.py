"""The cost of labels on a computer, from the labels that were made there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aiida import orm

from aiida_mlip_autopipe.calculations.labelling.label import LabellingCalculation
from aiida_mlip_autopipe.data.dataset import structures_in
from aiida_mlip_autopipe.data.labels import LabelsData
from aiida_mlip_autopipe.labelling import label_key
from aiida_mlip_autopipe.labelling.cost import Calibration, calibrate, modelled, relative_cost
from aiida_mlip_autopipe.structures.rows.level import LevelOfTheory

PROCESS = 'ProcessLabellingWorkChain'
"""Label of the processes that run another plugin for one structure."""
MAX_JOBS = 20
"""Maximum number of jobs whose labels are compared with the prediction."""


def measured_cost(calculator: Mapping[str, Any], level: LevelOfTheory, computer: orm.Computer) -> Calibration:
    """Return how the cost of the newest labels on a computer compares with the prediction.

    The cost model of a calculator takes its settings into account, so labels with other settings are used, too. For a
    calculator without a cost model, only those at the same level of theory are used.

    Parameters
    ----------
    calculator
        The settings of the calculator.
    level
        The level of theory of the labels that will be made.
    computer
        The computer on which they will be made.
    """
    same = {'attributes.level.code': level.code} if modelled(calculator) else {'attributes.level_hash': level.hash}
    query = orm.QueryBuilder().append(orm.Computer, filters={'uuid': computer.uuid}, tag='computer')
    query.append(LabellingCalculation, with_computer='computer', tag='job')
    query.append(LabelsData, with_incoming='job', filters={**same, 'attributes.variant': ''})
    query.order_by({LabelsData: [{'id': 'desc'}]}).limit(MAX_JOBS)
    pairs = [pair for (labels,) in query.iterall() for pair in _costs(labels)]
    return calibrate([predicted for predicted, _ in pairs], [measured for _, measured in pairs])


def measured_cost_of_processes(level: LevelOfTheory, computer: orm.Computer) -> Calibration:
    """Return the cost per atom of the newest labels that processes of other plugins made on a computer.

    Parameters
    ----------
    level
        The level of theory of the labels that will be made.
    computer
        The computer on which they will be made.
    """
    query = orm.QueryBuilder().append(orm.Computer, filters={'uuid': computer.uuid}, tag='computer')
    query.append(orm.AbstractCode, with_computer='computer', tag='code')
    query.append(orm.WorkChainNode, with_incoming='code', filters={'attributes.process_label': PROCESS}, tag='process')
    same = {'attributes.level_hash': level.hash, 'attributes.variant': ''}
    query.append(LabelsData, with_incoming='process', filters=same)
    query.order_by({LabelsData: [{'id': 'desc'}]}).limit(MAX_JOBS)
    pairs = [
        (float(n_atoms), cost)
        for (labels,) in query.iterall()
        for n_atoms, cost in zip(labels.get_array('n_atoms'), _measured(labels), strict=True)
        if cost is not None
    ]
    return calibrate([predicted for predicted, _ in pairs], [measured for _, measured in pairs])


def _costs(labels: LabelsData) -> Iterator[tuple[float, float]]:
    """Yield the predicted and the measured cost of each label of a job."""
    inputs = labels.creator.inputs
    calculator = modelled(inputs.calculator.get_dict())
    level_hash, rows = labels.level.hash, inputs.rows.get_list()
    structures = {label_key(atoms, level_hash): atoms for atoms in structures_in(inputs.dataset, rows)}
    for key, measured in zip(labels.keys, _measured(labels), strict=True):
        if measured is not None:
            yield relative_cost(structures[key], calculator), measured


def _measured(labels: LabelsData) -> Iterator[float | None]:
    """Yield the core seconds of each label of a node; None for failures."""
    for record in labels.base.attributes.get('records'):
        measured = record['seconds'] * record['threads']
        yield measured if 'rule' not in record and measured > 0 else None
