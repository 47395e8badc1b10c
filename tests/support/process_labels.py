"""Structures, their dataset and codes for labels by processes of other plugins."""

import sys
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from support.rows import _make_provenance

from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.storage import export_dataset, make_row

OPTIONS = {'resources': {'num_machines': 1, 'num_mpiprocs_per_machine': 1}, 'withmpi': False}
EMT_SETTINGS = {'calculator': 'emt.EMT', 'level_name': 'mlip:emt'}


def strained(atoms):
    """Return a copy with displaced atoms and a strain without any symmetry."""
    changed = atoms.copy()
    changed.set_cell(atoms.cell @ [[0.97, 0.01, 0.0], [0.0, 0.98, 0.02], [0.01, 0.0, 0.96]], scale_atoms=True)
    changed.rattle(0.05, seed=1)
    return changed


@pytest.fixture
def make_dataset(tmp_path):
    """Return a function that makes the node of a dataset from structures, in their order."""

    def make(*structures):
        rows = []
        for step, atoms in enumerate(structures):
            labelled = atoms.copy()
            labelled.calc = SinglePointCalculator(labelled, energy=0.0, forces=np.zeros((len(atoms), 3)))
            rows.append(make_row(labelled, _make_provenance(step=step, rank=step), {'kind': 'alloy', 'parent': '12'}))
        path = tmp_path / f'{len(structures)}.db'
        export_dataset(path, rows)
        return DatasetData.from_file(path)

    return make


@pytest.fixture
def make_code(aiida_profile):
    """Return a function that makes a code on this machine."""
    from aiida_mlip_autopipe.installation.codes import ensure_computer

    def make(path=sys.executable, plugin='ase.ase'):
        computer, _ = ensure_computer()
        label = f'{Path(path).name.replace(".", "-")}-{orm.QueryBuilder().append(orm.AbstractCode).count()}'
        return orm.InstalledCode(
            label=label, computer=computer, filepath_executable=str(path), default_calc_job_plugin=plugin
        ).store()

    return make


@pytest.fixture
def silicon():
    return strained(bulk('Si'))


@pytest.fixture
def copper():
    return strained(bulk('Cu', cubic=True))
