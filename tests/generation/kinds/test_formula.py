from __future__ import annotations

import random
import re

import numpy as np
import pytest
import spglib
from pymatgen.core import Composition
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.generation import check_entry
from aiida_mlip_autopipe.generation.chemistry.oxidation import states_around
from aiida_mlip_autopipe.generation.kinds.formula import FormulaGenerator, FormulaSettings


def formula_entry(formula: str, **fields) -> dict:
    return {'kind': 'formula', 'formula': formula, 'n_random': 0, **fields}


def spacegroup(atoms) -> int:
    cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    return int(spglib.get_symmetry_dataset(cell, symprec=1e-2).number)


# A formula, and the AFLOW label and space group of a structure type that must be found. The test is marked because the
# library takes seconds to load.
@pytest.mark.physics
@pytest.mark.parametrize(
    ('formula', 'label', 'number'),
    [('NaCl', 'AB_cF8_225_a_b', 225), ('TiO2', 'A2B_tP6_136_f_a', 136), ('SrTiO3', 'AB3C_cP5_221_a_c_b', 221),
     ('Cu3Au', 'AB3_cP4_221_a_c', 221)],
)  # fmt: skip
def test_the_structure_type_of_the_compound_is_found(generate, formula, label, number):
    seeds = generate(formula_entry(formula, max_prototypes=100)).seeds
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
    estimate = FormulaGenerator(FormulaSettings(formula=formula)).volume
    assert (estimate / volume) ** (1 / 3) == pytest.approx(1, abs=0.07)


@pytest.mark.physics
def test_atoms_with_mixed_valence_have_integer_charges(generate):
    for seed in generate(formula_entry('Fe3O4', max_prototypes=5)).seeds:
        charges = seed.atoms.get_initial_charges()[seed.atoms.symbols == 'Fe']
        assert set(charges) == {2, 3}
        assert seed.atoms.get_initial_charges().sum() == 0


def test_random_crystals_have_their_symmetry_and_are_reproducible(generate):
    entry = formula_entry('TiO2', max_prototypes=0, n_random=4, spacegroups=[136, 62, 225, 14])
    random.seed(3)
    state = random.getstate()
    first, second = generate(entry), generate(entry)
    assert random.getstate() == state
    assert [seed.seed_id for seed in first.seeds] == [seed.seed_id for seed in second.seeds]
    assert first.seeds
    for seed in first.seeds:
        assert seed.atoms.get_chemical_formula(empirical=True) == 'O2Ti'
        assert seed.atoms.get_volume() / len(seed.atoms) == pytest.approx(seed.record['volume_A3'] / 3)
        # The positions may have more symmetry than the space group.
        cell = (seed.atoms.cell.array, seed.atoms.get_scaled_positions(), seed.atoms.numbers)
        operations = len(spglib.get_symmetry(cell, symprec=1e-3)['rotations'])
        order = {136: 16, 62: 8, 225: 192, 14: 4}[seed.record['spacegroup']]
        assert operations % (order // 4) == 0


@pytest.mark.physics
def test_a_cell_is_repeated_for_the_calculator(generate):
    seeds = generate(formula_entry('NaCl', max_prototypes=4), cutoff_A=5.0).seeds
    assert seeds
    for seed in seeds:
        assert max(seed.record['repeats']) > 1
        assert np.linalg.norm(seed.atoms.cell.array, axis=1).min() > 10


# Textbook compounds: salts of oxoacids, elements of several valences, mixed valence, and anions other than O2-.
@pytest.mark.parametrize(
    ('formula', 'states'),
    [
        ('NaClO4', {'Na': 1, 'Cl': 7, 'O': -2}), ('KMnO4', {'K': 1, 'Mn': 7, 'O': -2}), ('KClO3', {'Cl': 5}),
        ('Fe3O4', {'Fe': 8 / 3, 'O': -2}), ('Mn3O4', {'Mn': 8 / 3}), ('Pb3O4', {'Pb': 8 / 3}), ('LiMn2O4', {'Mn': 3.5}),
        ('La2SrMn3O9', {'La': 3, 'Sr': 2, 'Mn': 10 / 3}), ('BaBiO3', {'Ba': 2, 'Bi': 4}), ('FeS2', {'Fe': 2, 'S': -1}),
        ('CuO', {'Cu': 2, 'O': -2}), ('Cu2O', {'Cu': 1, 'O': -2}), ('TiO2', {'Ti': 4}), ('Al2O3', {'Al': 3}),
        ('SiO2', {'Si': 4}), ('BaTiO3', {'Ba': 2, 'Ti': 4}), ('LiFePO4', {'Li': 1, 'Fe': 2, 'P': 5, 'O': -2}),
        ('LaMnO3', {'La': 3, 'Mn': 3}), ('NH4Cl', {'N': -3, 'H': 1, 'Cl': -1}), ('OsO4', {'Os': 8}), ('ZnS', {'Zn': 2}),
        ('Na2O2', {'Na': 1, 'O': -1}), ('OF2', {'O': 2, 'F': -1}), ('XeF2', {'Xe': 2, 'F': -1}), ('K2FeO4', {'Fe': 6}),
        ('LiAlH4', {'Li': 1, 'Al': 3, 'H': -1}), ('CsPbI3', {'Pb': 2}), ('CuFeS2', {'Cu': 1, 'Fe': 3}),
        ('Si3N4', {'Si': 4, 'N': -3}), ('GaAs', {'Ga': 3, 'As': -3}), ('WO3', {'W': 6}), ('UO2', {'U': 4}),
    ],
)  # fmt: skip
def test_oxidation_states_of_well_known_compounds_are_correct(formula, states):
    found = FormulaGenerator(FormulaSettings(formula=formula))._states
    assert {symbol: found[symbol] for symbol in states} == pytest.approx(states)
    assert sum(found[s] * n for s, n in Composition(formula).get_el_amt_dict().items()) == pytest.approx(0)


def test_an_element_has_states_of_both_signs(generate):
    (seed, *_) = generate(formula_entry('NH4NO3', n_random=1, max_prototypes=0, formula_units=[1])).seeds
    charges = seed.atoms.get_initial_charges()
    assert sorted(charges[seed.atoms.symbols == 'N']) == [-3, 5]
    assert charges.sum() == 0


@pytest.mark.parametrize(
    ('symbol', 'mean', 'expected'),
    [('Fe', 8 / 3, (2, 3)), ('Fe', 3.0, (3, 3)), ('Bi', 4.0, (3, 5)), ('O', -0.5, (-1, 0)), ('O', -2.0, (-2, -2))],
)
def test_mixed_valence_uses_known_states_around_the_mean(symbol, mean, expected):
    assert states_around(symbol, mean) == expected


@pytest.mark.physics
def test_the_error_of_an_unbalanced_formula_contains_the_nearest_balanced_one(generate):
    with refused(Code.CHARGE_UNBALANCED, 'MgO3', '(MgO ', 'oxidation_states'):
        generate(formula_entry('MgO3'))
    with refused(Code.CHARGE_UNBALANCED, 'oxidation_states', 'Mg, O', 'MgO2', '-2 e'):
        generate(formula_entry('MgO2', oxidation_states={'Mg': 2, 'O': -2}))
    charged = {'oxidation_states': {'K': 1, 'O': -0.5}, 'validation': {'like_charges': False}}
    superoxide = generate(formula_entry('KO2', **charged)).seeds
    assert {sum(seed.atoms.get_initial_charges()) for seed in superoxide} == {0}
    assert {charge for seed in superoxide for charge in seed.atoms.get_initial_charges()} == {1, -1, 0}
    metallic = generate(formula_entry('MgB2', oxidation_states={'Mg': 0, 'B': 0}, max_prototypes=100)).seeds
    assert 191 in {spacegroup(seed.atoms) for seed in metallic}  # the AlB2 type


@pytest.mark.physics
def test_structure_types_that_are_left_out_are_reported(generate):
    entry = formula_entry('NaCl', max_prototypes=1, validation={'on_failure': 'skip', 'min_distance_factor': 0.1})
    (note,) = generate(entry).report['entries']['0']['notes']
    assert 'max_prototypes' in note
    n_left_out, n_found = (int(number) for number in re.findall(r'\d+', note))
    assert n_left_out == n_found - 1 > 1


@pytest.mark.physics
def test_a_formula_without_structure_types_and_random_crystals_is_refused(make_entries):
    (entry,) = make_entries(formula_entry('Na2O2', oxidation_states={'Na': 1, 'O': -1}))
    with refused(Code.PROTOTYPE_MISSING, 'Na2O2', 'n_random'):
        check_entry(entry, random_seed=1, cutoff_A=0.0)


@pytest.mark.parametrize(
    ('fields', 'code', 'values'),
    [
        ({'formula': 'Xx2O3'}, Code.ELEMENT_UNKNOWN, ['formula', "'Xx'"]),
        ({'formula': 'two of Na'}, Code.FORMULA_INVALID, ['formula', "'two of Na'"]),
        ({'formula': 'Fe0.5O'}, Code.FORMULA_INVALID, ['formula', "'Fe0.5O'", ' FeO2']),
        ({'formula': 'Li0.95CoO2'}, Code.FORMULA_INVALID, ['formula', ' Li19(CoO2)20']),
        ({'formula': 'H0.0'}, Code.FORMULA_INVALID, ['formula', "'H0.0'"]),
        ({'formula': 'NaCl', 'max_prototypes': 0, 'n_random': 0}, Code.VALUES_INCOMPLETE,
         ['max_prototypes', 'n_random']),
    ],
)  # fmt: skip
def test_an_invalid_formula_is_refused(fields, code, values):
    with refused(code, *values):
        FormulaSettings(**fields)
