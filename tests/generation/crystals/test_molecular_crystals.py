from __future__ import annotations

import sys

import numpy as np
import pytest
import spglib
from ase import Atoms
from ase.build import molecule
from ase.data.vdw_alvarez import vdw_radii
from ase.neighborlist import neighbor_list
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.generation.chemistry.smiles import molecule_from_smiles
from aiida_mlip_autopipe.generation.crystals import molecular_crystals
from aiida_mlip_autopipe.generation.crystals.molecular_crystals import crystal_volume
from aiida_mlip_autopipe.structures.densities import DALTON_PER_A3
from aiida_mlip_autopipe.structures.seed import is_amorphous

BENZENE, DRY_ICE = ({'kind': 'molecular', 'packing': 'crystal', 'molecules': [{'name': n}]} for n in ('C6H6', 'CO2'))
# Bromochlorofluoromethane, which is chiral.
HALON = Atoms(
    'CHFClBr', [[0, 0, 0], [0.63, 0.63, 0.63], [0.78, -0.78, -0.78], [-1.02, 1.02, -1.02], [-1.12, -1.12, 1.12]]
)


def crystal(*molecules: dict, **fields) -> dict:
    return {'kind': 'molecular', 'packing': 'crystal', 'molecules': list(molecules), 'n_seeds': 1, **fields}


def groups(atoms: Atoms) -> list[np.ndarray]:
    """Return the indices of the atoms of each molecule."""
    return [np.flatnonzero(atoms.get_tags() == tag) for tag in np.unique(atoms.get_tags())]


def assert_whole(atoms: Atoms, *expected: Atoms) -> None:
    """Check all distances within each molecule, without periodic images."""
    shapes = {str(one.symbols): one.get_all_distances() for one in expected}
    for group in groups(atoms):
        found = atoms[group]
        np.testing.assert_allclose(found.get_all_distances(), shapes[str(found.symbols)], rtol=0, atol=1e-6)


def spacegroup(atoms: Atoms) -> int:
    return spglib.get_symmetry_dataset((atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers), 1e-3).number


def smallest_contact(atoms: Atoms) -> float:
    """Return the smallest distance between molecules, divided by the sum of Alvarez's radii."""
    first, second, distances, shifts = neighbor_list('ijdS', atoms, 4.0)
    apart = (atoms.get_tags()[first] != atoms.get_tags()[second]) | shifts.any(axis=1)
    radii = vdw_radii[atoms.numbers]
    return float((distances / (radii[first] + radii[second]))[apart].min())


@pytest.mark.parametrize(
    ('entry', 'group', 'z'),
    [
        (crystal({'name': 'C6H6'}, spacegroups=[14], density_g_per_cm3=0.9), 14, 4),
        (crystal({'name': 'C6H6'}, spacegroups=[61], z_prime=0.5), 61, 4),
        (crystal({'name': 'CO2'}, spacegroups=[205], z_prime=0.1667), 205, 4),
        (crystal({'name': 'CH3OH'}, spacegroups=[19], z_prime=2), 19, 8),
        (crystal({'name': 'NH3'}, spacegroups=[198], z_prime=0.333), 198, 4),
        (crystal({'name': 'C2H4'}, {'name': 'H2O', 'count': 2}, spacegroups=[4]), 4, 2),
    ],
)
def test_a_crystal_of_whole_molecules_has_its_space_group(generate, entry, group, z):
    (seed,) = generate(entry).seeds
    atoms, record = seed.atoms, seed.record
    assert (record['spacegroup'], record['z'], spacegroup(atoms)) == (group, z, group)
    assert_whole(atoms, *(molecule(one['name']) for one in entry['molecules']))
    counts = [one.get('count', 1) * z for one in entry['molecules']]
    assert [one['count'] for one in record['molecules']] == counts
    assert len(groups(atoms)) == sum(counts)
    assert atoms.get_tags().tolist() == sorted(atoms.get_tags())
    assert record['molecular'] is True
    assert not is_amorphous(record)
    assert smallest_contact(atoms) >= 0.75 - 1e-5


def test_repeated_crystals_number_all_molecules(generate):
    (seed,) = generate({**DRY_ICE, 'n_seeds': 1, 'spacegroups': [19]}, cutoff_A=5.0).seeds
    copies = np.prod(seed.record['repeats'])
    assert copies > 1
    assert [len(group) for group in groups(seed.atoms)] == [3] * (4 * copies)
    assert_whole(seed.atoms, molecule('CO2'))


def test_the_density_is_that_of_the_settings(generate):
    (seed,) = generate({**BENZENE, 'n_seeds': 1, 'density_g_per_cm3': 0.9}).seeds
    mass = seed.atoms.get_masses().sum() * DALTON_PER_A3
    assert mass / seed.atoms.get_volume() == pytest.approx(0.9, rel=1e-6)
    assert seed.record['density_g_per_cm3'] == pytest.approx(0.9, rel=1e-6)


# Volumes per molecule: benzene at 138 K (Bacon et al. 1964), CO2 at 150 K (Simon, Peters 1980), NH3 at 171 K (Hewat,
# Riekel 1979) and urea at 12 K (Swaminathan et al. 1984).
@pytest.mark.parametrize(
    ('name', 'smiles', 'volume'),
    [('C6H6', '', 118.5), ('CO2', '', 44.5), ('NH3', '', 33.9), ('', 'NC(N)=O', 72.5)],
)
def test_estimated_volumes_are_near_those_of_known_crystals(name, smiles, volume):
    one = molecule(name) if name else molecule_from_smiles(smiles)
    assert crystal_volume(one) == pytest.approx(volume, rel=0.1)


@pytest.mark.parametrize(('group', 'signs'), [(19, {1}), (14, {-1, 1})])
def test_only_groups_with_improper_operations_have_both_enantiomers(generate, tmp_path, group, signs):
    HALON.write(tmp_path / 'molecule.xyz')
    entry = crystal({'file': str(tmp_path / 'molecule.xyz')}, spacegroups=[group], density_g_per_cm3=1.5)
    atoms = generate(entry).seeds[0].atoms
    found = {int(np.sign(np.linalg.det(atoms.positions[one][1:4] - atoms.positions[one][0]))) for one in groups(atoms)}
    own = int(np.sign(np.linalg.det(HALON.positions[1:4])))
    assert found == {own * sign for sign in signs}
    assert_whole(atoms, HALON)


def test_default_space_groups_are_drawn_among_the_possible_ones(generate):
    result = generate({**DRY_ICE, 'n_seeds': 12, 'z_prime': 0.5})
    assert {seed.record['spacegroup'] for seed in result.seeds} <= {14, 2, 15, 61}
    assert len({seed.record['spacegroup'] for seed in result.seeds}) > 1
    assert any('19, 4' in note for note in result.report['entries']['0']['notes'])


def test_default_space_groups_with_cells_that_are_too_large_are_left_out_and_reported(generate):
    entry = {**DRY_ICE, 'n_seeds': 3, 'validation': {'max_atoms': 15}}
    result = generate(entry)
    assert {seed.record['spacegroup'] for seed in result.seeds} <= {14, 2, 19, 4}
    assert max(len(seed.atoms) for seed in result.seeds) <= 15
    assert any('15, 61' in note for note in result.report['entries']['0']['notes'])
    with refused(Code.TOO_MANY_ATOMS, '61', 'spacegroups', '24', '15'):
        generate({**entry, 'spacegroups': [2, 61]})


def test_crystals_are_reproducible_and_leave_the_global_generator_alone(generate):
    entry = {**DRY_ICE, 'n_seeds': 2}
    before = np.random.get_state()[1:3]  # noqa: NPY002
    first = generate(entry).seeds
    np.testing.assert_equal(np.random.get_state()[1:3], before)  # noqa: NPY002
    again, other = generate(entry).seeds, generate(entry, random_seed=8).seeds
    assert [seed.seed_id for seed in first] == [seed.seed_id for seed in again]
    assert not {seed.seed_id for seed in first} & {seed.seed_id for seed in other}


@pytest.mark.parametrize(
    ('entry', 'code', 'values'),
    [
        (crystal({'name': 'Ar'}), Code.VALUE_INVALID, ['Ar', 'formula']),
        (crystal({'name': 'CH3OH'}, spacegroups=[14, 19], z_prime=0.5), Code.SPACEGROUP_IMPOSSIBLE, ['14', '0.5']),
        (crystal({'name': 'C6H6'}, spacegroups=[19], z_prime=0.5), Code.SPACEGROUP_IMPOSSIBLE, ['19', '2 molecules']),
        (crystal({'name': 'C6H6'}, z_prime=0.3), Code.SPACEGROUP_IMPOSSIBLE, ['14', '1.2']),
        (crystal({'name': 'C6H6'}, box_A=10.0), Code.VALUES_EXCLUDE, ['box_A', 'crystal']),
        (crystal({'name': 'C6H6'}, n_molecules=10), Code.VALUES_EXCLUDE, ['n_molecules']),
        (crystal({'name': 'C6H6'}, packing='random', density_g_per_cm3=1.0, z_prime=2), Code.VALUES_EXCLUDE,
         ['z_prime', 'random']),
        (crystal({'name': 'C6H6', 'fraction': 0.5}, {'name': 'CO2'}), Code.VALUES_EXCLUDE, ['count']),
        (crystal({'name': 'OH', 'charge': -1}), Code.CHARGE_UNBALANCED, ['OH -1', 'charged: true']),
    ],
)  # fmt: skip
def test_impossible_crystals_are_refused(generate, entry, code, values):
    with refused(code, *values):
        generate(entry)


@pytest.mark.parametrize('density', [2.8, 20.0])
def test_a_density_without_room_for_the_molecules_is_refused(generate, monkeypatch, density):
    monkeypatch.setattr(molecular_crystals, 'N_TRIALS', 1)
    with refused(Code.DENSITY_IMPOSSIBLE, 'density_g_per_cm3'):
        generate(crystal({'name': 'H2O'}, density_g_per_cm3=density, spacegroups=[2]))


@pytest.mark.parametrize('spacegroups', [None, [1]])
def test_a_formula_unit_of_too_many_atoms_is_refused_before_the_search(spacegroups, generate, monkeypatch):
    monkeypatch.setattr(molecular_crystals, '_fits', lambda *_: pytest.fail('the search has started'))
    asked = {} if spacegroups is None else {'spacegroups': spacegroups}
    with refused(Code.TOO_MANY_ATOMS, 'spacegroups', '500'):
        generate(crystal({'name': 'C6H6', 'count': 5000}, **asked))


def test_the_search_for_a_crystal_ends_at_the_time_limit(generate):
    entry = {**BENZENE, 'n_seeds': 1, 'density_g_per_cm3': 1.9}
    with refused(Code.TIME_LIMIT, '0.05'):
        generate({**entry, 'validation': {'time_limit_s': 0.05}})


def test_without_pyxtal_the_extra_is_named(generate, monkeypatch):
    monkeypatch.setitem(sys.modules, 'pyxtal', None)
    with refused(Code.PACKAGE_MISSING, '[generation]'):
        generate({**DRY_ICE, 'n_seeds': 1})
