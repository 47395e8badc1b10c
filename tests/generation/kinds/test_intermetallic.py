from __future__ import annotations

import numpy as np
import pytest
import spglib
from ase.neighborlist import neighbor_list
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code

SIGMA = {'A': 'Fe', 'B': 'Cr', 'C': 'Cr', 'D': 'Fe', 'E': 'Cr'}


def entry(prototype: str, fields: dict | None = None, **sites) -> dict:
    return {'kind': 'intermetallic', 'prototype': prototype, 'sites': sites, **(fields or {})}


def shortest(atoms, first: str, second: str) -> float:
    i, j, d = neighbor_list('ijd', atoms, 4.0)
    return float(d[(atoms.symbols[i] == first) & (atoms.symbols[j] == second)].min())


# Prototype, sites, formula of the cell, space group, lattice constant in Å, and a bond with its length in Å.
COMPOUNDS = [
    ('A15', {'A': 'Cr', 'B': 'Si'}, {'Cr': 6, 'Si': 2}, 223, 4.564, ('Cr', 'Cr', 2.282)),
    ('C14', {'A': 'Mg', 'B': 'Zn'}, {'Mg': 4, 'Zn': 8}, 194, 5.221, ('Mg', 'Zn', 3.061)),
    ('C15', {'A': 'Mg', 'B': 'Cu'}, {'Mg': 8, 'Cu': 16}, 227, 7.034, ('Mg', 'Mg', 3.046)),
    ('C36', {'A': 'Mg', 'B': 'Ni'}, {'Mg': 8, 'Ni': 16}, 194, 4.824, ('Mg', 'Ni', 2.828)),
    ('L2_1', {'A': 'Ni', 'B': 'Mn', 'C': 'Ga'}, {'Ni': 8, 'Mn': 4, 'Ga': 4}, 225, 5.825, ('Ni', 'Mn', 2.522)),
    ('C1_b', {'A': 'Ni', 'B': 'Ti', 'C': 'Sn'}, {'Ni': 4, 'Ti': 4, 'Sn': 4}, 216, 5.92, ('Ni', 'Sn', 2.563)),
    ('M2AX', {'M': 'Ti', 'A': 'Al', 'X': 'C'}, {'Ti': 4, 'Al': 2, 'C': 2}, 194, 3.04, ('Ti', 'C', 2.09)),
    ('M3AX2', {'M': 'Ti', 'A': 'Si', 'X': 'C'}, {'Ti': 6, 'Si': 2, 'C': 4}, 194, 3.0665, ('Ti', 'Si', 2.694)),
    ('M4AX3', {'M': 'Ti', 'A': 'Al', 'X': 'N'}, {'Ti': 8, 'Al': 2, 'N': 6}, 194, 2.988, ('Ti', 'N', 2.09)),
]


@pytest.mark.parametrize(('prototype', 'sites', 'formula', 'number', 'a_A', 'bond'), COMPOUNDS)
def test_a_compound_has_the_symmetry_and_bonds_of_the_real_crystal(
    generate, prototype, sites, formula, number, a_A, bond
):
    (seed,) = generate(entry(prototype, {'a_A': a_A}, **sites)).seeds
    cell = (seed.atoms.cell.array, seed.atoms.get_scaled_positions(), seed.atoms.numbers)
    assert spglib.get_symmetry_dataset(cell, 1e-4).number == number
    assert seed.atoms.symbols.formula.count() == formula
    first, second, length = bond
    assert shortest(seed.atoms, first, second) == pytest.approx(length, abs=0.02)


@pytest.mark.parametrize(('prototype', 'sites', 'formula', 'number', 'a_A', 'bond'), COMPOUNDS)
def test_the_default_lattice_constant_is_near_that_of_the_real_crystal(
    generate, prototype, sites, formula, number, a_A, bond
):
    (seed,) = generate(entry(prototype, **sites)).seeds
    assert seed.record['a_A'] == pytest.approx(a_A, rel=0.06)


@pytest.mark.parametrize('prototype', ['C14', 'C15', 'C36'])
def test_laves_phases_have_the_coordination_of_frank_and_kasper(generate, prototype):
    (seed,) = generate(entry(prototype, A='Mg', B='Zn')).seeds
    radius = 1.22 * shortest(seed.atoms, 'Mg', 'Zn')
    counts = np.bincount(neighbor_list('i', seed.atoms, radius))
    assert set(counts[seed.atoms.symbols == 'Mg']) == {16}
    assert set(counts[seed.atoms.symbols == 'Zn']) == {12}


def test_the_stackings_of_laves_phases_differ(generate):
    cubic, hexagonal, double = (generate(entry(p, A='Mg', B='Zn')).seeds[0] for p in ('C15', 'C14', 'C36'))
    assert hexagonal.record['c_over_a'] == pytest.approx(np.sqrt(8 / 3), rel=0.01)
    assert double.record['c_over_a'] == pytest.approx(2 * np.sqrt(8 / 3), rel=0.01)
    assert cubic.record['c_over_a'] == 1


def test_sigma_has_the_frank_kasper_coordination_of_each_site(generate):
    (seed,) = generate(entry('sigma', {'a_A': 8.7966}, A='Fe', B='Cr', C='Mo', D='Co', E='V')).seeds
    assert len(seed.atoms) == 30
    cell = (seed.atoms.cell.array, seed.atoms.get_scaled_positions(), seed.atoms.numbers)
    assert spglib.get_symmetry_dataset(cell, 1e-4).number == 136
    assert seed.atoms.symbols.formula.count() == {'Fe': 2, 'Cr': 4, 'Mo': 8, 'Co': 8, 'V': 8}
    counts = np.bincount(neighbor_list('i', seed.atoms, 3.4))
    for symbol, coordination in {'Fe': 12, 'Cr': 15, 'Mo': 14, 'Co': 12, 'V': 14}.items():
        assert set(counts[seed.atoms.symbols == symbol]) == {coordination}
    assert generate(entry('sigma', **SIGMA)).seeds[0].record['a_A'] == pytest.approx(8.80, rel=0.02)


def test_elements_that_share_a_site_are_arranged_at_random_and_the_others_are_not(generate):
    mixed = entry('C15', {'n_seeds': 3, 'supercell': [1, 1, 1]}, A='Zr', B={'Cr': 0.5, 'Fe': 0.5})
    seeds = generate(mixed).seeds
    assert len({tuple(seed.atoms.numbers) for seed in seeds}) == 3
    for seed in seeds:
        assert seed.record['composition'] == {'A': {'Zr': 8}, 'B': {'Cr': 8, 'Fe': 8}}
        assert set(np.bincount(neighbor_list('i', seed.atoms, 3.3))[seed.atoms.symbols == 'Zr']) == {16}
    assert [s.seed_id for s in generate(mixed).seeds] == [s.seed_id for s in seeds]
    assert len(generate(entry('C15', A='Zr', B={'Cr': 0.5, 'Fe': 0.5})).seeds) == 10


def test_a_surface_of_a_mixed_compound_has_its_composition(generate):
    crystal = entry('L2_1', {'a_A': 5.8}, A='Ni', B='Mn', C={'Ga': 0.5, 'In': 0.5})
    slab = {'kind': 'surface', 'of': crystal, 'miller_indices': [[1, 1, 0]], 'thickness_A': 6, 'n_seeds': 1}
    (seed,) = generate(slab).seeds
    count = seed.atoms.symbols.formula.count()
    assert count['Ni'] == 2 * count['Mn']
    assert count['Ga'] == count['In']


@pytest.mark.parametrize(
    ('fields', 'sites', 'code', 'values'),
    [
        ({}, {'A': 'Mg'}, Code.SITES_MISMATCH, ['C15', 'A, B']),
        ({'c_over_a': 1.6}, {'A': 'Mg', 'B': 'Cu'}, Code.VALUES_EXCLUDE, ['C15']),
        ({'supercell': [1, 1, 1], 'n_atoms': 24}, {'A': 'Mg', 'B': 'Cu'}, Code.VALUES_EXCLUDE, ['supercell']),
        ({'supercell': [1, 1, 1]}, {'A': 'Mg', 'B': {'Cu': 0.97, 'Ni': 0.03}}, Code.COMPOSITION_IMPOSSIBLE, ['0.03']),
    ],
)
def test_impossible_settings_are_refused(generate, fields, sites, code, values):
    with refused(code, *values):
        generate(entry('C15', fields, **sites))
