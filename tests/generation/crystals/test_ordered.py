from __future__ import annotations

import numpy as np
import pytest
import spglib
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.generation.kinds.alloy import AlloySettings

A3B = {'Cu': 0.75, 'Au': 0.25}
AB = {'Cu': 0.5, 'Au': 0.5}


def primitive(atoms):
    cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    return int(spglib.get_symmetry_dataset(cell).number), len(spglib.find_primitive(cell)[2])


# Space groups and atoms of the primitive cell from the Strukturbericht entries of the AFLOW prototype library.
@pytest.mark.parametrize(
    ('name', 'composition', 'number', 'n_atoms'),
    [
        ('L1_0', AB, 123, 2), ('L1_1', AB, 166, 2), ('L1_2', A3B, 221, 4), ('D0_22', A3B, 139, 4), ('B2', AB, 221, 2),
        ('B32', AB, 227, 4), ('D0_3', A3B, 225, 4), ('L2_1', {'Cu': 0.5, 'Mn': 0.25, 'Al': 0.25}, 225, 4),
        ('D0_19', A3B, 194, 8),
    ],
)  # fmt: skip
def test_ordered_alloys_have_the_symmetry_of_their_prototype(generate, name, composition, number, n_atoms):
    seeds = generate({'kind': 'alloy', 'composition': composition, 'arrangement': name}).seeds
    assert len(seeds) == 1
    assert primitive(seeds[0].atoms) == (number, n_atoms)
    assert seeds[0].record['composition'] == pytest.approx(composition)


def test_minority_atoms_are_not_neighbours_in_d0_19(generate):
    (seed,) = generate({'kind': 'alloy', 'composition': A3B, 'arrangement': 'D0_19', 'supercell': [2, 2, 2]}).seeds
    gold = seed.atoms[seed.atoms.symbols == 'Au']
    distances = gold.get_all_distances(mic=True)
    assert distances[distances > 0].min() > 1.3 * seed.record['a_A']


def test_an_ordered_cell_is_repeated_to_the_required_width(generate):
    (seed,) = generate({'kind': 'alloy', 'composition': AB, 'arrangement': 'B2'}, cutoff_A=5.0).seeds
    assert len(seed.atoms) == 2 * 4**3
    assert primitive(seed.atoms) == (221, 2)


@pytest.mark.parametrize(
    ('fields', 'code', 'values'),
    [
        ({'arrangement': 'L1_2', 'composition': AB}, Code.COMPOSITION_IMPOSSIBLE, ['L1_2', '[0.75, 0.25]', 'Cu 0.5']),
        ({'arrangement': 'B2', 'composition': AB, 'lattice': 'fcc'}, Code.VALUES_EXCLUDE, ['B2', 'bcc']),
        ({'arrangement': 'B2', 'composition_grid': {'elements': ['Cu', 'Au']}}, Code.VALUES_EXCLUDE,
         ['B2', 'composition_grid']),
        ({'composition': AB, 'composition_grid': {'elements': ['Cu', 'Au']}}, Code.VALUES_EXCLUDE,
         ['composition', 'composition_grid']),
        ({}, Code.VALUES_INCOMPLETE, ['composition', 'composition_grid']),
    ],
)  # fmt: skip
def test_fields_that_contradict_the_arrangement_are_refused(fields, code, values):
    with refused(code, *values):
        AlloySettings(**fields)


def test_a_grid_gives_one_seed_for_each_composition(generate):
    grid = {'elements': ['Cu', 'Ag', 'Au'], 'step': 0.25}
    seeds = generate({'kind': 'alloy', 'composition_grid': grid, 'n_atoms': 32}).seeds
    compositions = {tuple(sorted(seed.record['composition'].items())) for seed in seeds}
    assert len(seeds) == len(compositions) == 15  # (n + 2)(n + 1) / 2 points with n = 4
    inner = generate({'kind': 'alloy', 'composition_grid': {**grid, 'ends': False}, 'n_atoms': 32}).seeds
    assert len(inner) == 3
    assert all(len(seed.record['composition']) == 3 for seed in inner)


def test_a_grid_whose_step_does_not_divide_1_is_refused():
    with refused(Code.VALUE_INVALID, 'composition_grid', '0.333333'):
        AlloySettings(composition_grid={'elements': ['Cu', 'Au'], 'step': 0.3})


def test_solutes_replace_atoms_of_the_host(generate):
    entry = {'kind': 'alloy', 'composition': {'Cu': 1.0}, 'solutes': {'Au': 1, 'Ag': 2}, 'n_atoms': 108, 'n_seeds': 3}
    for seed in generate(entry).seeds:
        assert seed.atoms.symbols.formula.count() == {'Cu': 105, 'Au': 1, 'Ag': 2}
    one = generate({**entry, 'solutes': {'Au': 1}})
    assert len(one.seeds) == 1  # all sites are equivalent, so one solute has only one arrangement
    assert np.isclose(one.report['duplicates'], 2)
