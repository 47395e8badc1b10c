from __future__ import annotations

import shutil

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms, FixBondLength
from ase.io import write
from ase.neighborlist import neighbor_list
from pymatgen.core import Lattice, Structure
from pymatgen.io.cif import CifWriter
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


# Partial occupancies in CIF files.


@pytest.fixture
def disordered(tmp_path):
    """Write a CIF file with pymatgen and return an entry that reads it."""

    def make(group: str, lattice: Lattice, species: list, places: list, **fields) -> dict:
        structure = Structure.from_spacegroup(group, lattice, species, places)
        CifWriter(structure, symprec=0.01).write_file(tmp_path / 'disordered.cif')
        files = [str(tmp_path / 'disordered.cif')]
        return {'kind': 'structures', 'files': files, 'partial_occupancy': 'order', **fields}

    return make


@pytest.fixture
def spinel(disordered):
    """An entry with LiMn2O4 whose Li sites are partly occupied."""

    def make(occupancy: float, **fields) -> dict:
        species, places = [{'Li': occupancy}, 'Mn', 'O'], [[0.125] * 3, [0.5] * 3, [0.263] * 3]
        return disordered('Fd-3m:2', Lattice.cubic(8.25), species, places, **fields)

    return make


def test_partial_occupancies_are_ordered_on_request_only(generate, spinel):
    fields = {'n_seeds': 1, 'ordering': {'n_orderings': 5}}
    seeds = generate(spinel(0.5, **fields)).seeds
    for seed in seeds:
        assert seed.atoms.symbols.formula.count() == {'Li': 4, 'Mn': 16, 'O': 32}
        assert seed.atoms.get_initial_charges().sum() == pytest.approx(0, abs=1e-9)
        assert seed.record['occupancies'] == [{'requested': {'Li': 0.5}, 'realised': {'Li': 0.5}}]
        assert seed.record['ewald_energy_eV'] <= seed.record['mean_random_ewald_energy_eV']
        # With half of the diamond sites filled, the energy is lowest if the ions are on one of the two fcc sublattices.
        lithium = seed.atoms[seed.atoms.symbols == 'Li']
        assert neighbor_list('d', lithium, 7.0).min() == pytest.approx(8.25 / np.sqrt(2), abs=1e-3)
    assert [seed.seed_id for seed in generate(spinel(0.5, **fields)).seeds] == [seed.seed_id for seed in seeds]
    with refused(Code.OCCUPANCY_PARTIAL, 'Li', '0.5'):
        generate({'kind': 'structures', 'files': spinel(0.5)['files']})


def test_the_cell_grows_until_it_can_realise_the_occupancy(generate, spinel):
    entry = spinel(0.3125, n_seeds=1, ordering={'n_orderings': 1}, composition_tolerance=0.005)
    (seed,) = generate(entry).seeds
    assert sorted(seed.record['supercell']) == [1, 1, 2]
    assert seed.atoms.symbols.formula.count()['Li'] == 5


def test_an_occupancy_that_no_allowed_cell_realises_is_refused_with_its_value(generate, spinel):
    with refused(Code.COMPOSITION_IMPOSSIBLE, 'Li 0.3', '0.02', '0.25', 'disordered.cif'):
        generate(spinel(0.3, supercell=[1, 1, 1]))
    with refused(Code.COMPOSITION_IMPOSSIBLE, 'Li 0.3', '0.001', '60'):
        generate(spinel(0.3, composition_tolerance=0.001, validation={'max_atoms': 60}))


def test_atoms_that_share_a_site_in_a_metal_are_arranged_at_random(generate, disordered):
    mixed = disordered('Fm-3m', Lattice.cubic(3.9), [{'Cu': 0.75, 'Au': 0.25}], [[0, 0, 0]])
    mixed |= {'supercell': [2, 2, 2], 'n_seeds': 3}
    seeds = generate(mixed).seeds
    assert len({tuple(seed.atoms.numbers) for seed in seeds}) == 3
    assert all(seed.atoms.symbols.formula.count() == {'Cu': 24, 'Au': 8} for seed in seeds)
    assert generate({**mixed, 'n_seeds': None}).report['requested'] == 1


def test_split_sites_are_never_occupied_together(generate, disordered):
    # Li beside the centre of the octahedra of rock salt, on six sites of which one is occupied.
    split = disordered('Fm-3m', Lattice.cubic(5.2), [{'Li': 1 / 6}, 'Cl'], [[0.06, 0, 0], [0.5, 0.5, 0.5]], n_seeds=2)
    for seed in generate(split).seeds:
        assert seed.atoms.symbols.formula.count() == {'Li': 4, 'Cl': 4}
        lithium = seed.atoms[seed.atoms.symbols == 'Li']
        assert neighbor_list('d', lithium, 5.0).min() > 2.3


def test_all_elements_of_a_shared_site_are_known_before_seeds_are_made(make_entries, disordered):
    entry = disordered('Fm-3m', Lattice.cubic(3.9), [{'Cu': 0.75, 'Au': 0.25}], [[0, 0, 0]])
    assert make_entries(entry)[0].elements() == {'Cu', 'Au'}


@pytest.mark.parametrize(
    'fields', [{'supercell': [2, 1, 1]}, {'ordering': {'n_orderings': 2}}, {'composition_tolerance': 0.2}]
)
def test_settings_of_the_ordering_need_partial_occupancy_order(generate, entry, fields):
    with refused(Code.VALUES_INCOMPLETE, next(iter(fields)), 'partial_occupancy'):
        generate(entry(bulk('Cu'), **fields))


def test_an_ordering_without_partially_occupied_sites_is_reported(generate, entry):
    (note,) = generate(entry(bulk('Cu'), partial_occupancy='order')).report['entries']['0']['notes']
    assert 'partial_occupancy' in note


@pytest.mark.parametrize(
    ('sites', 'values'),
    [
        (['Na1 Na 0 0 0 0.7', 'K1 K 0 0 0 0.5'], ['1.2', 'Na1']),
        (['Na1 Na 0 0 0 0.3', 'Na2 Na 0 0 0 0.5'], ['Na1', 'more than once']),
        (['Na1 Na 0 0 0 ?'], ['Na1', '?']),
        (['Na1 Na 0 0 0 -0.5'], ['Na1', '-0.5']),
    ],
)
def test_occupancies_that_cannot_be_realised_are_refused(generate, tmp_path, sites, values):
    lengths = [f'_cell_length_{axis} 5.6' for axis in 'abc']
    angles = [f'_cell_angle_{name} 90' for name in ('alpha', 'beta', 'gamma')]
    loop = ['loop_', '_atom_site_label', '_atom_site_type_symbol', *(f'_atom_site_fract_{axis}' for axis in 'xyz')]
    head = ['data_bad', *lengths, *angles, '_symmetry_Int_Tables_number 1', *loop, '_atom_site_occupancy']
    path = tmp_path / 'bad.cif'
    path.write_text('\n'.join([*head, *sites, '']))
    with refused(Code.OCCUPANCY_PARTIAL, 'bad', *values):
        generate({'kind': 'structures', 'files': [str(path)], 'partial_occupancy': 'order'})
