"""Calculations of two small structures by ``pw.x``, whose outputs are in the tests of ``storage/dft``."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms

from aiida_mlip_autopipe.storage import Provenance, Row, make_row
from aiida_mlip_autopipe.storage.dft import write_dft_inputs
from aiida_mlip_autopipe.storage.dft.inputs import make_code

# Output of pw.x 6.7 for the inputs of these rows: 12 Ry, Al.pz-vbc.UPF, k-point spacing 0.6/Å, 3 Å of vacuum.
PW = Path(__file__).parents[1] / 'storage' / 'dft' / 'pw'
ESPRESSO = {
    'code': 'quantum-espresso',
    'label_source': 'dft:quantum-espresso:lda',
    'ecutwfc_Ry': 12,
    'kspacing_per_A': 0.6,
    'vacuum_A': 3,
    'pseudopotentials': {'Al': 'Al.pz-vbc.UPF'},
    'input': {'system': {'degauss': 0.03}},
}


def crystal() -> Atoms:
    """Return a compressed and sheared crystal with a fixed atom."""
    cell = np.array([[2.75, 0.05, 0], [0, 2.7, 0.1], [0.15, 0, 3.9]])
    atoms = Atoms('Al2', scaled_positions=[[0.02, 0, 0.01], [0.52, 0.48, 0.55]], cell=cell, pbc=True)
    atoms.set_constraint(FixAtoms([0]))
    return atoms


def layer() -> Atoms:
    """Return a layer without stress."""
    return Atoms('Al2', positions=[[0, 0, 0], [0, 0.3, 2.6]], cell=[5, 5, 7], pbc=[True, True, False])


def label_by_emt(atoms: Atoms, provenance: Provenance) -> Row:
    """Return a row with labels by EMT and its energies of isolated atoms."""
    atoms.calc = EMT()
    names = ('energy', 'forces', 'stress') if atoms.pbc.all() else ('energy', 'forces')
    results = {name: atoms.calc.get_property(name, atoms) for name in names}
    atoms.calc = SinglePointCalculator(atoms, **results)
    return make_row(atoms, provenance, {'kind': 'alloy'}, {'Al': 3.28, 'Cu': 3.51})


def finish_calculations(folder: Path, rows: Sequence[Row]) -> Path:
    """Write the inputs and outputs of the calculations of a crystal and a layer, and return their folder."""
    folders = write_dft_inputs(folder, rows, make_code(ESPRESSO, 'x'))
    for inner, output in zip(folders, ('crystal.out', 'layer.out'), strict=True):
        shutil.copy(PW / output, inner / 'pw.out')
    return folder
