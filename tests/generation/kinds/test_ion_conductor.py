from __future__ import annotations

import numpy as np
import pytest
import spglib
from ase.neighborlist import neighbor_list
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.generation.crystals.conductors import CONDUCTORS, conductor_cell

LLZO = {'M': 'Li', 'A': 'La', 'B': 'Zr', 'X': 'O'}
NASICON = {'M': 'Na', 'B': 'Zr', 'T': {'Si': 2 / 3, 'P': 1 / 3}, 'X': 'O'}
ARGYRODITE = {'M': 'Li', 'T': 'P', 'X': 'S', 'Y': 'S', 'Z': 'Cl'}
FEW = {'n_seeds': 1, 'ordering': {'n_orderings': 4}}


def entry(prototype: str, sites: dict, **fields) -> dict:
    return {'kind': 'ion_conductor', 'prototype': prototype, 'sites': sites, **FEW, **fields}


def distances(atoms, first: str, second: str, cutoff: float = 3.3) -> np.ndarray:
    i, j, d = neighbor_list('ijd', atoms, cutoff)
    return np.sort(d[(atoms.symbols[i] == first) & (atoms.symbols[j] == second)])


# The bonds of the framework in Å: Li7La3Zr2O12 (Awaka 2011), NaZr2P3O12-like tetrahedra, Li6PS5Cl (Kraft 2017).
@pytest.mark.parametrize(
    ('prototype', 'sites', 'a_A', 'formula', 'number', 'bonds'),
    [
        ('garnet', LLZO, 12.97, {'Li': 56, 'La': 24, 'Zr': 16, 'O': 96}, 230,
         [('Zr', 'O', 6, 2.11), ('La', 'O', 8, 2.55)]),
        ('NASICON', NASICON, 9.05, {'Na': 18, 'Zr': 12, 'Si': 12, 'P': 6, 'O': 72}, 167, [('P', 'O', 4, 1.58)]),
        ('argyrodite', ARGYRODITE, 9.86, {'Li': 24, 'P': 4, 'S': 20, 'Cl': 4}, 216,
         [('P', 'S', 4, 2.05), ('Li', 'S', 3, 2.42)]),
    ],
)  # fmt: skip
def test_a_conductor_is_neutral_and_has_the_framework_of_the_real_crystal(
    generate, prototype, sites, a_A, formula, number, bonds
):
    (seed,) = generate(entry(prototype, sites, a_A=a_A, supercell=[1, 1, 1])).seeds
    assert seed.atoms.symbols.formula.count() == formula
    assert seed.atoms.get_initial_charges().sum() == pytest.approx(0)
    assert seed.record['ewald_energy_eV'] <= seed.record['mean_random_ewald_energy_eV']
    for first, second, coordination, length in bonds:
        found = distances(seed.atoms, first, second)[: coordination * formula[first]]
        assert found.mean() == pytest.approx(length, abs=0.06)
    framework, roles, _ = conductor_cell(prototype)
    numbers = np.unique(roles, return_inverse=True)[1]
    cell = (framework.cell.array * a_A, framework.get_scaled_positions(), numbers)
    assert spglib.get_symmetry_dataset(cell, 1e-3).number == number == CONDUCTORS[prototype].framework.spacegroup
    mobile = next(iter(seed.record['composition']['M']))
    assert distances(seed.atoms, mobile, mobile, 4.0).min() > CONDUCTORS[prototype].exclusion_A
    (default,) = generate(entry(prototype, sites, supercell=[1, 1, 1])).seeds
    assert default.record['a_A'] == pytest.approx(a_A, rel=0.02)


def test_each_pair_of_sites_in_argyrodite_has_at_most_one_lithium(generate):
    (seed,) = generate(entry('argyrodite', ARGYRODITE, a_A=9.86, supercell=[1, 1, 1])).seeds
    assert seed.record['occupancy'] == 0.5
    assert distances(seed.atoms, 'Li', 'Li').min() > 2.3


@pytest.mark.parametrize(
    ('prototype', 'sites', 'n_mobile'),
    [
        ('garnet', {**LLZO, 'B': {'Zr': 0.75, 'Ta': 0.25}}, 52),  # Li6.5La3Zr1.5Ta0.5O12
        ('NASICON', {**NASICON, 'T': 'P'}, 6),  # NaZr2P3O12
        ('NASICON', {**NASICON, 'T': 'Si'}, 24),  # Na4Zr2Si3O12
        ('argyrodite', {**ARGYRODITE, 'Y': {'S': 0.5, 'Cl': 0.5}}, 22),  # Li5.5PS4.5Cl1.5
    ],
)
def test_the_number_of_mobile_ions_balances_the_charge(generate, prototype, sites, n_mobile):
    (seed,) = generate(entry(prototype, sites, supercell=[1, 1, 1])).seeds
    (found,) = seed.record['composition']['M'].values()
    assert found == n_mobile
    assert seed.atoms.get_initial_charges().sum() == pytest.approx(0)


def test_the_sites_of_full_nasicon_are_all_occupied(generate):
    (seed,) = generate(entry('NASICON', {**NASICON, 'T': 'Si'}, supercell=[1, 1, 1])).seeds
    cell = (seed.atoms.cell.array, seed.atoms.get_scaled_positions(), seed.atoms.numbers)
    assert spglib.get_symmetry_dataset(cell, 1e-3).number == 167


def test_arrangements_differ_between_seeds_and_are_repeated_bit_for_bit(generate):
    mixed = entry('garnet', {**LLZO, 'B': {'Zr': 0.75, 'Ta': 0.25}}, n_seeds=3, supercell=[1, 1, 1])
    first, second = generate(mixed).seeds, generate(mixed).seeds
    assert len({seed.seed_id for seed in first}) == 3
    for one, other in zip(first, second, strict=True):
        assert one.seed_id == other.seed_id
        assert np.array_equal(one.atoms.positions, other.atoms.positions)


@pytest.mark.parametrize(
    ('prototype', 'sites', 'fields', 'code', 'values'),
    [
        ('garnet', {'A': 'La', 'B': 'Zr', 'X': 'O'}, {}, Code.SITES_MISMATCH, ['A, B, M, X']),
        ('garnet', {**LLZO, 'M': {'Li': 0.5, 'Na': 0.5}}, {}, Code.SITES_MISMATCH, ['Li, Na']),
        ('garnet', LLZO, {'oxidation_states': {'Ta': 5}}, Code.KEY_UNKNOWN, ['Ta', 'La, Li, O, Zr']),
        ('garnet', LLZO, {'oxidation_states': {'Zr': 11}, 'a_A': 13.0}, Code.CHARGE_UNBALANCED, ['-56', 'Li', '120']),
        ('garnet', {**LLZO, 'M': 'Mg', 'B': {'Zr': 0.9375, 'Ta': 0.0625}}, {'supercell': [1, 1, 1]},
         Code.CHARGE_UNBALANCED, ['27.5', 'Mg']),
        ('garnet', LLZO, {'supercell': [1, 1, 1], 'n_atoms': 200}, Code.VALUES_EXCLUDE, ['n_atoms']),
    ],
)  # fmt: skip
def test_impossible_settings_are_refused(generate, prototype, sites, fields, code, values):
    with refused(code, *values):
        generate(entry(prototype, sites, **fields))


def test_an_exclusion_distance_that_no_arrangement_keeps_is_refused(generate):
    far = {'ordering': {'exclusion_A': 3.5, 'n_orderings': 1}, 'validation': {'max_redraws': 0}}
    with refused(Code.STRUCTURE_INVALID, '56', '120'):
        generate(entry('garnet', LLZO, **far))
