from __future__ import annotations

import shutil

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms, FixBondLength
from ase.io import write
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code


@pytest.fixture
def entry(tmp_path):
    """Write structures to a file and return an entry that reads it."""

    def make(*structures: Atoms, name: str = 'own.traj', **fields) -> dict:
        write(tmp_path / name, structures)
        return {'kind': 'structures', 'files': [str(tmp_path / name)], **fields}

    return make


def test_every_frame_of_a_file_is_a_seed(generate, entry):
    copper, gold = bulk('Cu', cubic=True), bulk('Au', cubic=True)
    seeds = generate(entry(copper, gold)).seeds
    assert [str(seed.atoms.symbols) for seed in seeds] == ['Cu4', 'Au4']
    assert np.array_equal(seeds[0].atoms.positions, copper.positions)
    assert [seed.record['frame'] for seed in seeds] == [0, 1]


@pytest.mark.parametrize(('frames', 'symbols'), [('1', ['Au']), ('-1', ['Ag']), ('::2', ['Cu', 'Ag'])])
def test_frames_are_selected_by_index_or_slice(generate, entry, frames, symbols):
    seeds = generate(entry(bulk('Cu'), bulk('Au'), bulk('Ag'), frames=frames)).seeds
    assert [str(seed.atoms.symbols) for seed in seeds] == symbols


def test_fixed_atoms_tags_and_moments_are_kept(generate, entry):
    slab = fcc111('Cu', (1, 1, 4), vacuum=8.0)
    slab.set_constraint(FixAtoms(mask=slab.get_tags() > 2))
    slab.set_initial_magnetic_moments([1.0, 0, 0, 0])
    (seed,) = generate(entry(slab, perturb={'rattle_A': 0.05})).seeds
    assert seed.arrays()['fixed'].tolist() == [True, True, False, False]
    assert np.array_equal(seed.atoms.get_tags(), slab.get_tags())
    assert seed.arrays()['magmoms'].tolist() == [1.0, 0, 0, 0]
    moved = np.abs(seed.atoms.positions - slab.positions).max(axis=1)
    assert (moved[:2] == 0).all()
    assert (moved[2:] > 0).all()


def test_properties_that_a_seed_cannot_keep_are_reported(generate, entry):
    moving, heavy, computed = bulk('Cu'), bulk('Cu', a=3.7), bulk('Fe')
    moving.set_momenta([[0.1, 0, 0]])
    heavy.set_masses([65.0])
    computed.calc = SinglePointCalculator(computed, energy=-8.0, magmoms=[2.2], charges=[0.1])
    (note,) = generate(entry(moving, heavy, computed)).report['entries']['0']['notes']
    assert all(what in note for what in ('own.traj', 'momenta', 'masses', 'charges'))
    (note,) = generate(entry(computed, name='own.extxyz')).report['entries']['0']['notes']
    assert all(what in note for what in ('own.extxyz', 'magnetic moments', 'charges'))
    of = {'kind': 'defect', 'of': entry(moving * (2, 2, 2)), 'vacancies': {'Cu': 1}, 'n_seeds': 1}
    (note,) = generate(of).report['entries']['0']['notes']
    assert 'momenta' in note
    assert not generate(entry(bulk('Cu'))).report['entries']['0']['notes']


def test_seeds_do_not_depend_on_the_path_of_the_file(generate, entry, tmp_path):
    here = entry(bulk('Cu', cubic=True), perturb={'rattle_A': 0.05, 'n_variants': 3})
    there = tmp_path / 'elsewhere'
    there.mkdir()
    shutil.copy(here['files'][0], there / 'other_name.traj')
    moved = generate({**here, 'files': [str(there / 'other_name.traj')]})
    assert [seed.seed_id for seed in moved.seeds] == [seed.seed_id for seed in generate(here).seeds]


def test_variants_of_one_structure_have_the_same_parent(generate, entry):
    seeds = generate(entry(bulk('Cu', cubic=True), perturb={'rattle_A': 0.05, 'n_variants': 3})).seeds
    assert len({seed.seed_id for seed in seeds}) == 3
    assert len({seed.record['parent'] for seed in seeds}) == 1


def test_a_molecule_without_a_cell_is_not_periodic(generate, entry):
    (seed,) = generate(entry(molecule('CH3OH'), name='own.xyz'), cutoff_A=5.0).seeds
    assert not seed.atoms.pbc.any()


def test_a_small_cell_is_repeated_only_if_it_must_be_wide_enough(generate, entry):
    assert len(generate(entry(bulk('Cu')), cutoff_A=5.0).seeds[0].atoms) == 1
    for validation in ({'min_width_factor': 2}, {'cell': 'wide_enough'}):
        grown = generate(entry(bulk('Cu'), validation=validation), cutoff_A=5.0).seeds[0]
        assert grown.record['repeats'] == [5, 5, 5]
    with refused(Code.STRUCTURE_INVALID, '2.08 Å'):
        generate(entry(bulk('Cu'), validation={'cell': 'wide_enough', 'max_atoms': 50}), cutoff_A=5.0)


def test_the_same_structure_in_another_cell_is_a_duplicate(generate, entry):
    doubled = bulk('Cu', cubic=True) * (2, 1, 1)
    doubled.rotate(30, 'z', rotate_cell=True)
    result = generate(entry(bulk('Cu'), doubled, bulk('Cu', a=3.7)))
    assert len(result.seeds) == 2
    assert result.report['duplicates'] == 1


def test_the_error_of_an_unreadable_file_is_one_line(generate, tmp_path):
    path = tmp_path / 'broken.xyz'
    path.write_text('three\n\nCu 0 0\n')
    with refused(Code.FILE_UNREADABLE, str(path)) as caught:
        generate({'kind': 'structures', 'files': [str(path)]})
    assert '\n' not in str(caught.value)


def test_a_missing_file_is_refused(generate, tmp_path):
    with refused(Code.FILE_MISSING, str(tmp_path / 'none.cif')):
        generate({'kind': 'structures', 'files': [str(tmp_path / 'none.cif')]})


def test_constraints_other_than_fixed_atoms_are_refused(generate, entry):
    water = molecule('H2O')
    water.set_constraint(FixBondLength(0, 1))
    with refused(Code.STRUCTURE_UNUSABLE, 'structure 0', 'own.traj', 'FixAtoms'):
        generate(entry(water))


@pytest.mark.parametrize(
    'atoms',
    [
        Atoms('XCu', positions=[[0, 0, 0], [0, 0, 2.5]]),
        Atoms('Cu', positions=[[0, 0, float('nan')]]),
    ],
    ids=['no element', 'not finite'],
)
def test_a_structure_that_cannot_be_explored_is_refused(generate, entry, atoms):
    with refused(Code.STRUCTURE_UNUSABLE, 'structure 0', 'own.traj'):
        generate(entry(atoms))
