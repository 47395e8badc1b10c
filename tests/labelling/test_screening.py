import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from aiida_mlip_autopipe.labelling.base import LabellingSettings
from aiida_mlip_autopipe.labelling.screening import LeftOut, screen_structures


def settings(**fields):
    return LabellingSettings(kind='gpaw', **fields)


def forces_of(n_atoms, largest):
    forces = np.zeros((n_atoms, 3))
    forces[0] = [0.6 * largest, 0, 0.8 * largest]
    return forces


def pair(distance_A):
    return Atoms('H2', positions=[[0, 0, 0], [0, 0, distance_A]])


def test_structures_within_all_limits_are_kept():
    structures = [bulk('Cu', cubic=True), pair(0.74), Atoms('Ar', cell=[9, 9, 9], pbc=True)]
    screening = screen_structures(structures, [forces_of(4, 49.9), None, np.zeros((1, 3))], [None] * 3, settings())
    assert (screening.kept, screening.left_out) == ((0, 1, 2), {})


def test_each_structure_is_left_out_for_the_first_limit_that_it_exceeds():
    crystal, large = bulk('Cu', cubic=True), bulk('Cu', cubic=True).repeat(2)
    # The covalent radius of H is 0.31 Å.
    structures = [crystal, large, pair(0.3), crystal, crystal]
    forces = [None, forces_of(32, 80), None, forces_of(4, 60), np.full((4, 3), np.nan)]
    screening = screen_structures(structures, forces, [None] * 5, settings(max_atoms=20))
    assert screening.kept == (0,)
    assert screening.left_out['max_atoms'] == (LeftOut(1, 32, 20),)
    (close,) = screening.left_out['min_distance']
    assert (close.index, close.limit) == (2, 0.5)
    assert close.value == pytest.approx(0.3 / 0.62)
    force, invalid = screening.left_out['max_force_eV_A']
    assert (force.index, force.value, force.limit) == (3, pytest.approx(60), 50)
    assert invalid.index == 4
    assert np.isnan(invalid.value)


def test_dimers_have_a_separate_force_limit():
    forces = [forces_of(2, 300)] * 2
    kinds = ['dimer', 'cluster']
    screening = screen_structures([pair(0.4)] * 2, forces, kinds, settings())
    assert (screening.kept, list(screening.left_out)) == ((0,), ['max_force_eV_A'])
    screening = screen_structures([pair(0.4)] * 2, forces, kinds, settings(max_force_dimers_eV_A=200))
    assert [len(screening.left_out[rule]) for rule in ('max_force_dimers_eV_A', 'max_force_eV_A')] == [1, 1]


def test_limits_can_be_switched_off():
    limits = settings(max_force_eV_A=None, min_distance=0)
    assert screen_structures([pair(0.1)], [forces_of(2, 1e4)], [None], limits).kept == (0,)
