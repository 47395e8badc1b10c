from __future__ import annotations

import numpy as np
import pytest
import spglib
from pydantic import ValidationError
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.generation.chemistry.elements import nearest_counts
from aiida_mlip_autopipe.generation.crystals.lattices import atomic_volume, vegard_lattice
from aiida_mlip_autopipe.generation.kinds.alloy import AlloySettings


def spacegroup(atoms) -> int:
    cell = (atoms.cell.array, atoms.get_scaled_positions(), np.ones(len(atoms)))
    return int(spglib.get_symmetry_dataset(cell, symprec=1e-4).number)


@pytest.mark.parametrize(
    ('lattice', 'number', 'nearest', 'bonds'),
    [('fcc', 225, 2**-0.5, 12), ('bcc', 229, 3**0.5 / 2, 8), ('hcp', 194, 1.0, 12), ('sc', 221, 1.0, 6),
     ('diamond', 227, 3**0.5 / 4, 4)],
)  # fmt: skip
def test_sites_have_the_symmetry_and_neighbours_of_the_lattice(generate, lattice, number, nearest, bonds):
    entry = {'kind': 'alloy', 'composition': {'Cu': 0.5, 'Ni': 0.5}, 'lattice': lattice, 'a_A': 3.9, 'n_seeds': 1,
             'supercell': [3, 3, 3], 'validation': {'min_distance_factor': 0.0, 'plausible_volume': False}}  # fmt: skip
    if lattice == 'hcp':
        entry['c_over_a'] = float(np.sqrt(8 / 3))
    (seed,) = generate(entry).seeds
    assert spacegroup(seed.atoms) == number
    distances = seed.atoms.get_all_distances(mic=True)[0]
    assert np.sum(np.abs(distances - 3.9 * nearest) < 1e-6) == bonds


def test_atoms_are_counted_by_largest_remainder(generate):
    composition = {'Cr': 0.2, 'Mn': 0.2, 'Fe': 0.2, 'Co': 0.2, 'Ni': 0.2}
    (seed,) = generate({'kind': 'alloy', 'composition': composition, 'n_atoms': 108, 'n_seeds': 1}).seeds
    counts = {symbol: int(np.sum(seed.atoms.symbols == symbol)) for symbol in composition}
    assert counts == {'Cr': 22, 'Mn': 22, 'Fe': 22, 'Co': 21, 'Ni': 21}
    assert seed.record['composition']['Cr'] == pytest.approx(22 / 108)


@pytest.mark.parametrize('n_sites', [1, 7, 32, 100])
def test_counts_fill_the_sites_and_deviate_by_less_than_one(n_sites):
    fractions = {'Cu': 0.61, 'Au': 0.27, 'Ag': 0.12}
    counts = nearest_counts(fractions, n_sites)
    assert sum(counts.values()) == n_sites
    assert all(abs(counts[symbol] - fraction * n_sites) < 1 for symbol, fraction in fractions.items())


def test_the_lattice_constant_follows_vegards_law(generate):
    (seed,) = generate(
        {'kind': 'alloy', 'composition': {'Cu': 0.25, 'Au': 0.75}, 'supercell': [2, 2, 2], 'n_seeds': 1}
    ).seeds
    assert seed.record['a_A'] == pytest.approx(0.25 * 3.61 + 0.75 * 4.08)
    assert seed.atoms.cell.lengths() == pytest.approx([2 * seed.record['a_A']] * 3)


def test_an_element_has_the_same_atomic_volume_in_another_lattice():
    a_A, _ = vegard_lattice({'Fe': 1.0}, 'fcc')
    assert a_A**3 / 4 == pytest.approx(2.87**3 / 2)
    a_A, c_over_a = vegard_lattice({'Cu': 1.0}, 'hcp')
    assert np.sqrt(3) / 2 * a_A**3 * c_over_a / 2 == pytest.approx(3.61**3 / 4)


def test_an_element_without_a_simple_lattice_has_its_molar_volume():
    assert atomic_volume('Mn') == pytest.approx(12.2, rel=0.02)  # α-Mn: 58 atoms in (8.91 Å)³
    assert atomic_volume('Ga') == pytest.approx(19.6, rel=0.02)  # α-Ga: 8 atoms in 4.52 x 7.66 x 4.53 Å


@pytest.mark.parametrize('lattice', ['fcc', 'hcp'])
def test_an_element_without_a_known_volume_needs_only_the_lattice_constant(generate, lattice):
    entry = {'kind': 'alloy', 'composition': {'Pt': 0.5, 'At': 0.5}, 'lattice': lattice, 'n_atoms': 8, 'n_seeds': 1}
    with refused(Code.VALUE_MISSING, 'At', 'a_A'):
        generate(entry)
    (seed,) = generate({**entry, 'a_A': 4.4}).seeds
    assert seed.record['a_A'] == 4.4
    assert set(seed.atoms.symbols) == {'Pt', 'At'}


@pytest.mark.physics
def test_arrangements_of_a_solid_solution_are_uncorrelated(generate):
    entry = {'kind': 'alloy', 'composition': {'Cu': 0.5, 'Au': 0.5}, 'n_atoms': 108, 'n_seeds': 60}
    correlations = []
    for seed in generate(entry).seeds:
        spins = np.where(seed.atoms.symbols == 'Cu', 1, -1)
        distances = seed.atoms.get_all_distances(mic=True)
        neighbours = (distances > 0.1) & (distances < 0.75 * seed.record['a_A'])
        correlations.append((spins @ neighbours @ spins) / neighbours.sum())
    # At a fixed composition each pair correlates as -1/(n - 1).
    error = np.std(correlations) / np.sqrt(len(correlations))
    assert abs(np.mean(correlations) + 1 / 107) < 4 * error


def test_the_cell_is_wide_enough_for_the_calculator(generate):
    entry = {'kind': 'alloy', 'composition': {'Cu': 0.5, 'Au': 0.5}, 'n_seeds': 1}
    (seed,) = generate(entry, cutoff_A=5.0).seeds
    assert seed.record['supercell'] == [3, 3, 3]
    squeezed = {**entry, 'perturb': {'isotropic_strain': 0.2}}
    assert generate(squeezed, cutoff_A=5.0).seeds[0].record['supercell'] == [4, 4, 4]


def test_the_cell_is_large_enough_for_the_composition(generate):
    entry = {'kind': 'alloy', 'composition': {'Cu': 0.99, 'Au': 0.01}, 'composition_tolerance': 1e-3, 'n_seeds': 1}
    (seed,) = generate(entry).seeds
    assert abs(seed.record['composition']['Au'] - 0.01) <= 1e-3
    with refused(Code.COMPOSITION_IMPOSSIBLE, '60', 'Cu 0.99 Au 0.01', 'Cu 0.983', 'Au 0.016'):
        generate({**entry, 'validation': {'max_atoms': 60}})


def test_a_cell_too_small_for_the_composition_is_refused(generate):
    with refused(Code.COMPOSITION_IMPOSSIBLE, '32 sites', 'Cu 0.99 Au 0.01'):
        generate({'kind': 'alloy', 'composition': {'Cu': 0.99, 'Au': 0.01}, 'supercell': [2, 2, 2]})


@pytest.mark.parametrize(
    ('composition', 'code', 'values'),
    [
        ({'Cu': 0.5, 'Au': 0.4}, Code.COMPOSITION_INVALID, ['composition', '0.9', '0.002']),
        ({'Cu': 1.5, 'Au': -0.5}, Code.COMPOSITION_INVALID, ['composition', 'Cu', '1.5']),
        ({'Cuu': 0.5, 'Au': 0.5}, Code.ELEMENT_UNKNOWN, ['composition', "'Cuu'"]),
    ],
)
def test_an_impossible_composition_is_refused(composition, code, values):
    with refused(code, *values):
        AlloySettings(composition=composition)


@pytest.mark.parametrize(('symbol', 'nearest'), [('Kx', 'K'), ('copper', 'Cu'), ('CU', 'Cu'), ('Fee', 'Fe')])
def test_the_nearest_symbol_is_suggested_for_an_unknown_element(symbol, nearest):
    with pytest.raises(ValidationError) as caught:
        AlloySettings(composition={symbol: 1.0})
    assert caught.value.errors()[0]['ctx']['nearest'] == nearest


def test_three_fractions_of_0_333_are_a_valid_composition():
    assert sum(AlloySettings(composition={'Cu': 0.333, 'Au': 0.333, 'Ag': 0.333}).composition.values()) == 1


@pytest.mark.parametrize(
    ('fields', 'values'),
    [
        ({'supercell': [2, 2, 2], 'n_atoms': 32}, ['supercell', 'n_atoms']),
        ({'lattice': 'fcc', 'c_over_a': 1.6}, ['c_over_a', 'hcp', 'fcc']),
    ],
)
def test_contradictory_fields_are_refused(fields, values):
    with refused(Code.VALUES_EXCLUDE, *values):
        AlloySettings(composition={'Cu': 1.0}, **fields)


def test_a_negative_lattice_constant_is_refused():
    with pytest.raises(ValidationError):
        AlloySettings(composition={'Cu': 1.0}, a_A=-1)


@pytest.mark.parametrize(('gold', 'realised'), [(0.26, 'Cu 0.75 Au 0.25'), (0.2531, None), (0.25, None)])
def test_a_composition_that_rounding_changes_is_reported(generate, gold, realised):
    entry = {'kind': 'alloy', 'composition': {'Cu': 1 - gold, 'Au': gold}, 'supercell': [2, 2, 2], 'n_seeds': 3}
    slab = {'kind': 'surface', 'of': {name: entry[name] for name in ('kind', 'composition')}, 'n_seeds': 1,
            'supercell': [4, 2], 'miller_indices': [[1, 0, 0]], 'n_layers': 4}  # fmt: skip
    for seeds in (entry, slab):
        notes = generate(seeds).report['entries']['0']['notes']
        assert len(notes) == (1 if realised else 0)
        assert all(value in note for note in notes for value in ('32 sites', realised, f'Au {gold}'))


@pytest.mark.parametrize(
    ('fields', 'values'),
    [
        ({'composition': {'Fe': 1.0}}, ['fcc', 'Fe is bcc']),
        ({'composition': {'Ti': 0.6, 'Al': 0.4}}, ['fcc', 'Ti is hcp']),
        ({'composition': {'Fe': 1.0}, 'lattice': 'fcc'}, None),
        ({'composition': {'Fe': 0.25, 'Ni': 0.75}}, None),
        ({'composition': {'Fe': 0.25, 'Ni': 0.75}, 'arrangement': 'L1_2'}, None),
    ],
)
def test_a_default_lattice_that_is_not_that_of_the_element_is_reported(generate, fields, values):
    notes = generate({'kind': 'alloy', 'n_atoms': 100, 'n_seeds': 1, **fields}).report['entries']['0']['notes']
    assert len(notes) == (1 if values else 0)
    assert all(value in note for note in notes for value in values)
