"""The choice of the ensemble, and ensembles that are refused."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, graphene, molecule
from ase.constraints import FixAtoms
from ase.spacegroup import crystal
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.exploration.dynamics.ensembles import choose_degrees, choose_ensemble, choose_for
from aiida_mlip_autopipe.exploration.settings.dynamics import ExplorationSettings


def graphite() -> Atoms:
    return crystal('C2', [(0, 0, 0.25), (1 / 3, 2 / 3, 0.25)], spacegroup=194, cellpar=[2.46, 2.46, 6.7, 90, 90, 120])


def sodalite() -> Atoms:
    """The silica framework of sodalite: cages of 6 Å, but no layer without atoms."""
    return crystal(
        ['Si', 'O'], [(0.25, 0.5, 0), (0.1468, 0.1468, 0.4893)], spacegroup=218, cellpar=[8.88, 8.88, 8.88, 90, 90, 90]
    )


def wire() -> Atoms:
    atoms = bulk('Cu', cubic=True) * (1, 1, 3)
    atoms.center(vacuum=8, axis=(0, 1))
    atoms.pbc = True
    return atoms


def wrapped_slab() -> Atoms:
    atoms = fcc111('Cu', (2, 2, 4), vacuum=7.0, orthogonal=False)
    atoms.pbc = True
    atoms.positions[:, 2] += atoms.cell[2, 2] / 2
    atoms.wrap()
    return atoms


def sheared(atoms: Atoms) -> Atoms:
    """Return the same crystal with other cell vectors."""
    fractions = np.array([[1, 0, 1], [0, 1, 1], [1, 1, 1]])
    assert abs(np.linalg.det(fractions)) == 1
    other = atoms.copy()
    other.set_cell(fractions @ atoms.cell.array)
    other.wrap()
    return other


def dispersed_clusters() -> Atoms:
    """Clusters on a body-centred lattice: no plane lies in empty space."""
    cluster = molecule('CH4')
    atoms = cluster.copy()
    cluster.positions += 7.0
    atoms += cluster
    atoms.set_cell([14.0] * 3)
    atoms.pbc = True
    return atoms


def left_handed(atoms: Atoms) -> Atoms:
    return Atoms(
        atoms.numbers,
        cell=atoms.cell.array[[1, 0, 2]],
        scaled_positions=atoms.get_scaled_positions()[:, [1, 0, 2]],
        pbc=True,
    )


@pytest.mark.parametrize(
    ('atoms', 'ensemble', 'value'),
    [
        (bulk('Cu', cubic=True), 'npt', ' 6 Å'),
        (bulk('Cu') * (2, 1, 3), 'npt', ' 6 Å'),
        (left_handed(bulk('Ti') * (2, 2, 2)), 'npt', ' 6 Å'),
        (graphite(), 'npt', ' 6 Å'),
        (sodalite(), 'npt', ' 6 Å'),
        (wire(), 'nvt', 'along a'),
        (wrapped_slab(), 'nvt', 'along c'),
        (left_handed(wrapped_slab()), 'nvt', 'along c'),
        (sheared(wrapped_slab()), 'nvt', ' 6 Å'),
        (sheared(bulk('Cu', cubic=True)), 'npt', ' 6 Å'),
        (dispersed_clusters(), 'nvt', ' 6 Å'),
        (graphene(vacuum=6.0), 'nvt', 'along c'),
        (molecule('H2O'), 'nvt', 'along a, b, c'),
        (molecule('H2O', vacuum=5.0, pbc=True), 'nvt', ' Å along '),
    ],
    ids=[
        'cubic cell',
        'primitive cell',
        'left-handed cell',
        'graphite',
        'porous crystal',
        'wire',
        'slab wrapped over the edge',
        'left-handed slab',
        'slab in a sheared cell',
        'crystal in a sheared cell',
        'dispersed clusters',
        'sheet',
        'free molecule',
        'molecule in a periodic box',
    ],
)
def test_auto_selects_npt_for_bulk_and_nvt_for_structures_with_vacuum(atoms, ensemble, value):
    choice = choose_ensemble(atoms, 'auto', 6.0)
    assert choice.ensemble == ensemble
    assert value in choice.reason


@pytest.mark.parametrize(
    ('atoms', 'value'),
    [
        (wrapped_slab(), ' Å along c'),
        (molecule('H2O'), ' a, b, c'),
    ],
)
def test_npt_is_refused_for_structures_with_vacuum(atoms, value):
    with refused(Code.ENSEMBLE_IMPOSSIBLE, 'NPT', value):
        choose_ensemble(atoms, 'npt', 6.0)


def test_a_generated_slab_is_explored_at_constant_volume_for_any_thickness_of_its_vacuum():
    slab = fcc111('Cu', (2, 2, 4), vacuum=4.0)
    slab.pbc = True
    assert choose_ensemble(slab, 'auto', 6.0).ensemble == 'npt'  # by its geometry
    assert choose_ensemble(slab, 'auto', 6.0, form='slab').ensemble == 'nvt'
    with refused(Code.ENSEMBLE_IMPOSSIBLE, 'NPT', 'slab'):
        choose_ensemble(slab, 'npt', 6.0, form='slab')


def test_molecules_keep_their_density_unless_npt_is_requested():
    argon = bulk('Ar', 'fcc', a=5.3, cubic=True)
    assert choose_ensemble(argon, 'auto', 6.0).ensemble == 'npt'
    assert choose_ensemble(argon, 'auto', 6.0, molecular=True).ensemble == 'nvt'
    assert choose_ensemble(argon, 'npt', 6.0, molecular=True).ensemble == 'npt'


def test_fixed_atoms_exclude_npt():
    atoms = bulk('Cu', cubic=True)
    atoms.set_constraint(FixAtoms([0]))
    assert choose_ensemble(atoms, 'auto', 6.0).ensemble == 'nvt'
    with refused(Code.ENSEMBLE_IMPOSSIBLE, 'NPT', 'fixed atoms (1)'):
        choose_ensemble(atoms, 'npt', 6.0)


def test_a_calculator_without_stress_excludes_npt():
    atoms = bulk('Cu', cubic=True)
    assert choose_ensemble(atoms, 'auto', 6.0, has_stress=False).ensemble == 'nvt'
    with refused(Code.ENSEMBLE_IMPOSSIBLE, 'NPT', 'stress'):
        choose_ensemble(atoms, 'npt', 6.0, has_stress=False)


@pytest.mark.parametrize('fix', [True, False])
def test_a_structure_in_which_nothing_can_move_is_refused(fix):
    atoms = bulk('Cu')
    if fix:
        atoms.set_constraint(FixAtoms([0]))
    with refused(Code.NOTHING_MOVES, 'fixed' if fix else 'supercell'):
        choose_ensemble(atoms, 'auto', 6.0)


@pytest.mark.parametrize('cell', [np.zeros((3, 3)), [[0, 0, 0], [0, 0, 0], [0, 0, 3]]])
def test_a_relaxation_along_the_normal_is_refused_without_a_plane(cell):
    atoms = Atoms('Cu2', positions=[[0, 0, 0], [0, 0, 2.6]], cell=cell, pbc=np.any(cell, axis=1))
    with refused(Code.ENSEMBLE_IMPOSSIBLE, 'normal', 'positions'):
        choose_degrees(atoms, 'normal', 6.0)
    slab = fcc111('Cu', (1, 1, 3), vacuum=6)
    assert choose_degrees(slab, 'normal', 6.0).ensemble == 'relax_normal'


def slab(**changes) -> Atoms:
    atoms = fcc111('Cu', (2, 2, 4), vacuum=7.0)
    atoms.pbc = True
    for name, value in changes.items():
        setattr(atoms, name, value)
    return atoms


@pytest.mark.parametrize(
    ('atoms', 'cell', 'facts', 'ensemble'),
    [
        (bulk('Cu', cubic=True), 'anisotropic', {}, 'npt_anisotropic'),
        (bulk('Cu', cubic=True), 'flexible', {}, 'npt_flexible'),
        (bulk('Cu', cubic=True), 'flexible', {'molecular': True, 'amorphous': True}, 'nvt'),
        (bulk('Cu', cubic=True), 'flexible', {'amorphous': True}, 'npt'),
        (bulk('Cu', cubic=True), 'in_plane', {}, 'npt'),
        (bulk('Cu', cubic=True), 'flexible', {'has_stress': False}, 'nvt'),
        (slab(), 'flexible', {}, 'nvt'),
        (slab(), 'anisotropic', {'form': 'slab'}, 'nvt'),
        (slab(), 'in_plane', {}, 'npt_in_plane'),
        (slab(), 'in_plane', {'form': 'slab'}, 'npt_in_plane'),
        (slab(), 'in_plane', {'form': 'slab', 'amorphous': True}, 'nvt'),
        (slab(), 'in_plane', {'has_stress': False}, 'nvt'),
        (slab(pbc=[True, True, False]), 'in_plane', {}, 'nvt'),
        (slab(constraints=FixAtoms([0])), 'in_plane', {}, 'nvt'),
        (wire(), 'in_plane', {}, 'nvt'),
        (molecule('H2O', vacuum=5.0, pbc=True), 'in_plane', {}, 'nvt'),
        (molecule('H2O', vacuum=5.0, pbc=True), 'in_plane', {'form': 'molecule'}, 'nvt'),
    ],
)
def test_auto_changes_the_shape_of_a_cell_only_where_it_is_possible_and_npt_is_refused_elsewhere(
    atoms, cell, facts, ensemble
):
    choice = choose_ensemble(atoms, 'auto', 6.0, cell=cell, **facts)
    assert choice.ensemble == ensemble
    if ensemble.startswith('npt_'):
        assert choose_ensemble(atoms, 'npt', 6.0, cell=cell, **facts).ensemble == ensemble
        return
    with refused(Code.ENSEMBLE_IMPOSSIBLE, 'NPT', cell):
        choose_ensemble(atoms, 'npt', 6.0, cell=cell, **facts)


@pytest.mark.parametrize('cell', ['anisotropic', 'flexible'])
def test_the_cell_of_a_molecular_crystal_changes_its_shape_if_npt_is_requested(cell):
    neon = bulk('Ne', cubic=True)
    assert choose_ensemble(neon, 'npt', 6.0, molecular=True, cell=cell).ensemble == f'npt_{cell}'
    auto = choose_ensemble(neon, 'auto', 6.0, molecular=True, cell=cell)
    assert auto == choose_ensemble(neon, 'auto', 6.0, molecular=True)
    assert auto.ensemble == 'nvt'


def test_vacuum_must_be_along_the_third_cell_vector_for_a_change_in_the_plane():
    atoms = slab()
    turned = Atoms(
        atoms.numbers, cell=atoms.cell.array[[2, 0, 1]], scaled_positions=atoms.get_scaled_positions()[:, [2, 0, 1]]
    )
    turned.pbc = True
    with refused(Code.ENSEMBLE_IMPOSSIBLE, 'along c'):
        choose_ensemble(turned, 'npt', 6.0, cell='in_plane')


@pytest.mark.parametrize(('tension', 'allowed'), [({'xx': 1, 'xy': 2}, True), ({'zz': 1}, False), ({'xz': 1}, False)])
def test_a_tension_along_the_normal_of_a_slab_is_refused(tension, allowed):
    settings = ExplorationSettings(cell='in_plane', tension_GPa=tension)
    if allowed:
        assert choose_for(settings, slab()).ensemble == 'npt_in_plane'
        return
    with refused(Code.ENSEMBLE_IMPOSSIBLE, 'tension_GPa'):
        choose_for(settings, slab())
