from __future__ import annotations

import random

import numpy as np
import pytest
import spglib
from pydantic import ValidationError

from aiida_mlip_autopipe.errors import AutopipeError
from aiida_mlip_autopipe.generation.knowledge import KnowledgeGenerator, KnowledgeSettings


def knowledge(formula: str, **fields) -> dict:
    return {'kind': 'knowledge', 'formula': formula, 'n_random': 0, **fields}


def spacegroup(atoms) -> int:
    cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    return int(spglib.get_symmetry_dataset(cell, symprec=1e-2).number)


# Loading the library takes seconds, hence the mark.
# Formula, and a structure type of it that must be found: AFLOW's label and its space group.
@pytest.mark.physics
@pytest.mark.parametrize(
    ('formula', 'label', 'number'),
    [('NaCl', 'AB_cF8_225_a_b', 225), ('TiO2', 'A2B_tP6_136_f_a', 136), ('SrTiO3', 'AB3C_cP5_221_a_c_b', 221),
     ('Cu3Au', 'AB3_cP4_221_a_c', 221)],
)  # fmt: skip
def test_the_structure_type_of_the_compound_is_among_the_prototypes(generate, formula, label, number):
    seeds = generate(knowledge(formula, max_prototypes=100)).seeds
    found = [seed for seed in seeds if seed.record['prototype'] == label]
    assert found
    assert {spacegroup(seed.atoms) for seed in found} == {number}
    for seed in seeds:
        assert seed.atoms.get_chemical_formula(empirical=True) == found[0].atoms.get_chemical_formula(empirical=True)
        assert abs(seed.atoms.get_initial_charges().sum()) < 1e-9


@pytest.mark.parametrize(
    ('formula', 'volume'),
    [('MgO', 18.7), ('NaCl', 44.9), ('Al2O3', 42.4), ('TiO2', 31.2), ('CaF2', 40.8), ('SrTiO3', 59.5), ('Cu3Au', 52.7)],
)
def test_the_volume_is_near_that_of_the_real_crystal(formula, volume):
    estimate = KnowledgeGenerator(KnowledgeSettings(formula=formula)).volume
    assert (estimate / volume) ** (1 / 3) == pytest.approx(1, abs=0.07)


@pytest.mark.physics
def test_mixed_valence_is_spread_over_the_atoms_as_whole_charges(generate):
    for seed in generate(knowledge('Fe3O4', max_prototypes=5)).seeds:
        charges = seed.atoms.get_initial_charges()[seed.atoms.symbols == 'Fe']
        assert set(charges) == {2, 3}
        assert seed.atoms.get_initial_charges().sum() == 0


def test_random_crystals_have_their_symmetry_and_are_reproducible(generate):
    entry = knowledge('TiO2', max_prototypes=0, n_random=4, spacegroups=[136, 62, 225, 14])
    random.seed(3)
    state = random.getstate()
    first, second = generate(entry), generate(entry)
    assert random.getstate() == state
    assert [seed.seed_id for seed in first.seeds] == [seed.seed_id for seed in second.seeds]
    assert first.seeds
    for seed in first.seeds:
        assert seed.atoms.get_chemical_formula(empirical=True) == 'O2Ti'
        assert seed.atoms.get_volume() / len(seed.atoms) == pytest.approx(seed.record['volume_A3'] / 3)
        # The drawn group is a subgroup of what the positions happen to have.
        cell = (seed.atoms.cell.array, seed.atoms.get_scaled_positions(), seed.atoms.numbers)
        operations = len(spglib.get_symmetry(cell, symprec=1e-3)['rotations'])
        order = {136: 16, 62: 8, 225: 192, 14: 4}[seed.record['spacegroup']]
        assert operations % (order // 4) == 0


@pytest.mark.physics
def test_a_cell_is_repeated_for_the_calculator(generate):
    seeds = generate(knowledge('NaCl', max_prototypes=4), cutoff_A=5.0).seeds
    assert seeds
    for seed in seeds:
        assert max(seed.record['repeats']) > 1
        assert np.linalg.norm(seed.atoms.cell.array, axis=1).min() > 10


@pytest.mark.physics
def test_a_formula_that_no_states_balance_is_refused_with_the_nearest(generate):
    with pytest.raises(AutopipeError, match=r'states balance MgO2; MgO is balanced, or give oxidation_states'):
        generate(knowledge('MgO2'))
    with pytest.raises(AutopipeError, match=r'must name Mg, O and balance MgO2; .* leaves -2 e'):
        generate(knowledge('MgO2', oxidation_states={'Mg': 2, 'O': -2}))
    assert generate(knowledge('MgO2', oxidation_states={'Mg': 2, 'O': -1}, validation={'like_charges': False})).seeds


@pytest.mark.parametrize(
    ('fields', 'sentence'),
    [
        ({'formula': 'Xx2O3'}, "'Xx' is not an element's symbol"),
        ({'formula': 'two of Na'}, 'is not a chemical formula'),
        ({'formula': 'Fe0.5O'}, 'must have whole numbers of atoms'),
        ({'formula': 'NaCl', 'max_prototypes': 0, 'n_random': 0}, 'give max_prototypes or n_random'),
    ],
)
def test_what_is_no_formula_is_refused(fields, sentence):
    with pytest.raises(ValidationError, match=sentence):
        KnowledgeSettings(**fields)
