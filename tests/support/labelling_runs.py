"""Datasets, and inputs of labelling runs with EMT as reference method."""

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from support.rows import _make_provenance

from aiida_mlip_autopipe.config.execution import ExecutionSettings
from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.labelling import LABELLERS
from aiida_mlip_autopipe.storage import export_dataset, make_row
from aiida_mlip_autopipe.workflows.inputs.environments import Environments
from aiida_mlip_autopipe.workflows.inputs.labelling import labelling_inputs


def make_structure(number):
    """Return a small rattled crystal, which is different for each number, with labels of another calculator."""
    atoms = bulk('Cu', cubic=True)
    atoms.numbers[0] = 79
    atoms.rattle(0.05, seed=number)
    results = {'energy': float(number), 'forces': np.zeros((4, 3)), 'stress': np.zeros(6)}
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


@pytest.fixture(scope='module')
def make_dataset(tmp_path_factory):
    """Return a function that makes a dataset of the structures with some numbers, which are never the same twice."""

    def make(*numbers):
        path = tmp_path_factory.mktemp('dataset') / 'cu_au.db'
        record = {'kind': 'alloy', 'parent': '12'}
        rows = [
            make_row(make_structure(number), _make_provenance(step=number, rank=number, architecture='lj'), record)
            for number in numbers
        ]
        export_dataset(path, rows)
        return DatasetData.from_file(path)

    return make


@pytest.fixture(scope='module')
def make_inputs(emt_code):
    """Return a function that makes the inputs of a labelling run by EMT, with settings and options of its jobs."""

    def make(dataset, *, reuse=True, script=None, **settings):
        data = {'kind': 'calculator', 'calculator': {'kind': 'emt'}, **settings}
        section = LABELLERS.load('calculator').settings_class.model_validate(data)
        structures = [row.atoms for row in dataset.rows()]
        inputs = labelling_inputs(section, ExecutionSettings(), structures, Environments()).inputs
        inputs['job']['metadata']['options'] |= script or {}
        return {**inputs, 'dataset': dataset, 'max_concurrent_jobs': 2, 'reuse_finished': reuse}

    return make
