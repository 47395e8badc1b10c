from __future__ import annotations

import numpy as np
import pytest
import spglib
from ase.neighborlist import neighbor_list
from pymatgen.analysis.bond_valence import BVAnalyzer
from pymatgen.io.ase import AseAtomsAdaptor
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.generation.chemistry.balance import balanced
from aiida_mlip_autopipe.generation.chemistry.oxidation import ionic_radius
from aiida_mlip_autopipe.generation.kinds.ionic import IonicSettings


def entry(prototype: str, fields: dict | None = None, **sites) -> dict:
    return {'kind': 'ionic', 'prototype': prototype, 'sites': sites, **(fields or {})}


COMPOUNDS = [
    # prototype, sites, space group, lattice constant of the real crystal in Å, oxidation states
    ('rocksalt', {'A': 'Mg', 'X': 'O'}, 225, 4.21, {'Mg': 2, 'O': -2}),
    ('cesium_chloride', {'A': 'Cs', 'X': 'Cl'}, 221, 4.12, {'Cs': 1, 'Cl': -1}),
    ('fluorite', {'A': 'Ca', 'X': 'F'}, 225, 5.46, {'Ca': 2, 'F': -1}),
    ('antifluorite', {'A': 'Li', 'X': 'O'}, 225, 4.62, {'Li': 1, 'O': -2}),
    ('zincblende', {'A': 'Zn', 'X': 'S'}, 216, 5.41, {'Zn': 2, 'S': -2}),
    ('zincblende', {'A': 'Ga', 'X': 'As'}, 216, 5.65, {'Ga': 3, 'As': -3}),
    ('wurtzite', {'A': 'Zn', 'X': 'O'}, 186, 3.25, {'Zn': 2, 'O': -2}),
    ('rutile', {'A': 'Ti', 'X': 'O'}, 136, 4.59, {'Ti': 4, 'O': -2}),
    ('corundum', {'A': 'Al', 'X': 'O'}, 167, 4.76, {'Al': 3, 'O': -2}),
    ('perovskite', {'A': 'Sr', 'B': 'Ti', 'X': 'O'}, 221, 3.905, {'Sr': 2, 'Ti': 4, 'O': -2}),
    ('spinel', {'A': 'Mg', 'B': 'Al', 'X': 'O'}, 227, 8.08, {'Mg': 2, 'Al': 3, 'O': -2}),
    ('double_perovskite', {'A': 'Ba', 'B': 'Y', "B'": 'Ta', 'X': 'O'}, 225, 8.43, {'Ba': 2, 'Y': 3, 'Ta': 5, 'O': -2}),
    ('inverse_spinel', {'A': 'Fe', 'B': 'Ni', "B'": 'Fe', 'X': 'O'}, 91, 8.34 / 2**0.5, {'Fe': 3, 'Ni': 2, 'O': -2}),
    ('layered_rocksalt', {'A': 'Na', 'B': 'Fe', 'X': 'O'}, 166, 3.02, {'Na': 1, 'Fe': 3, 'O': -2}),
    ('layered_rocksalt', {'A': 'Li', 'B': 'Co', 'X': 'O'}, 166, 2.816, {'Li': 1, 'Co': 3, 'O': -2}),
]


@pytest.mark.parametrize(('prototype', 'sites', 'number', 'a_A', 'states'), COMPOUNDS)
def test_a_compound_has_the_symmetry_and_about_the_size_of_the_real_crystal(
    generate, prototype, sites, number, a_A, states
):
    (seed,) = generate(entry(prototype, **sites)).seeds
    cell = (seed.atoms.cell.array, seed.atoms.get_scaled_positions(), seed.atoms.numbers)
    assert spglib.get_symmetry_dataset(cell).number == number
    assert seed.record['a_A'] == pytest.approx(a_A, rel=0.045)
    charges = dict(zip(seed.atoms.get_chemical_symbols(), seed.atoms.get_initial_charges(), strict=True))
    assert charges == states
    assert seed.record['formal_charge'] == 0


# Neighbours in the real crystals, as (element, its neighbours, their number).
@pytest.mark.parametrize(
    ('prototype', 'sites', 'neighbours'),
    [
        ('double_perovskite', {'A': 'Sr', 'B': 'Fe', "B'": 'Mo', 'X': 'O'},
         [('Fe', 'O', 6), ('Mo', 'O', 6), ('Sr', 'O', 12), ('O', 'Fe', 1), ('O', 'Mo', 1), ('Fe', 'Mo', 6),
          ('Mo', 'Fe', 6)]),
        ('inverse_spinel', {'A': 'Ga', 'B': 'Mg', "B'": 'Al', 'X': 'O'},
         [('Ga', 'O', 4), ('Mg', 'O', 6), ('Al', 'O', 6), ('O', 'Ga', 1), ('Mg', 'Mg', 2), ('Mg', 'Al', 4),
          ('Al', 'Al', 2)]),
        ('layered_rocksalt', {'A': 'Li', 'B': 'Co', 'X': 'O'},
         [('Li', 'O', 6), ('Co', 'O', 6), ('O', 'Li', 3), ('O', 'Co', 3), ('Co', 'Co', 6), ('Li', 'Li', 6)]),
    ],
)  # fmt: skip
def test_an_ordered_structure_type_has_the_neighbours_of_the_real_crystal(generate, prototype, sites, neighbours):
    (seed,) = generate(entry(prototype, {'supercell': [2, 2, 2], 'validation': {'max_atoms': 500}}, **sites)).seeds
    first, second, lengths = neighbor_list('ijd', seed.atoms, 6.0)
    symbols = np.array(seed.atoms.get_chemical_symbols())
    for one, other, number in neighbours:
        pair = (symbols[first] == one) & (symbols[second] == other)
        shell = pair & (lengths < lengths[pair].min() * 1.05)
        assert set(np.bincount(first[shell], minlength=len(symbols))[symbols == one]) == {number}, (one, other)


def test_layered_rocksalt_alternates_layers_of_its_cations(generate):
    (seed,) = generate(entry('layered_rocksalt', A='Li', B='Co', X='O')).seeds
    planes = {}
    for symbol, height in zip(seed.atoms.get_chemical_symbols(), np.round(seed.atoms.positions[:, 2], 3), strict=True):
        planes.setdefault(height % seed.atoms.cell[2, 2], set()).add(symbol)
    order = [symbol for _, (symbol,) in sorted(planes.items())]
    assert ''.join(order) in 2 * ''.join(['Co', 'O', 'Li', 'O'] * 3)


def test_lithium_cobalt_oxide_has_the_measured_bond_lengths(generate):
    fields = {'a_A': 2.816, 'supercell': [3, 3, 1]}
    (seed,) = generate(entry('layered_rocksalt', fields, A='Li', B='Co', X='O')).seeds
    lengths = {symbol: neighbor_list('d', seed.atoms, {(symbol, 'O'): 2.3}).mean() for symbol in ('Co', 'Li')}
    # H. J. Orman and P. J. Wiseman, Acta Cryst. C 40, 12 (1984).
    assert lengths == pytest.approx({'Co': 1.921, 'Li': 2.092}, abs=0.003)


def test_an_ordered_site_may_be_shared_and_cut_into_a_slab(generate):
    nmc = entry('layered_rocksalt', A='Li', B={'Ni': 1 / 3, 'Mn': 1 / 3, 'Co': 1 / 3}, X='O')
    (seed,) = generate({**nmc, 'supercell': [3, 3, 1], 'n_seeds': 1}).seeds
    assert seed.record['oxidation_states'] == {
        'Li': {'1': 27}, 'Ni': {'2': 9}, 'Mn': {'4': 9}, 'Co': {'3': 9}, 'O': {'-2': 54},
    }  # fmt: skip
    antisites = entry('double_perovskite', A='Ba', B={'Y': 0.75, 'Ta': 0.25}, X='O', **{"B'": {'Ta': 0.75, 'Y': 0.25}})
    slab = {'kind': 'surface', 'of': antisites, 'miller_indices': [[1, 0, 0]], 'n_planes': 1, 'polar': 'allow'}
    (cut, *_) = generate({**slab, 'n_seeds': 1}).seeds
    numbers = cut.atoms.symbols.formula.count()
    assert numbers['Y'] == numbers['Ta']
    assert cut.atoms.get_initial_charges().sum() == 0


@pytest.mark.parametrize(
    ('prototype', 'sites'), [*(c[:2] for c in COMPOUNDS), ('perovskite', {'A': 'La', 'B': 'Mn', 'X': 'O'})]
)
def test_states_agree_with_bond_valence_sums(generate, prototype, sites):
    (seed,) = generate(entry(prototype, **sites)).seeds
    structure = AseAtomsAdaptor.get_structure(seed.atoms)
    assert BVAnalyzer().get_valences(structure) == pytest.approx(seed.atoms.get_initial_charges())


def test_mixed_valence_agrees_with_bond_valence_sums(generate):
    (seed,) = generate(entry('spinel', {'n_seeds': 1}, A='Fe', B='Fe', X='O')).seeds
    # All octahedra are equivalent, so the analysis finds the numbers of ions with each charge, not their sites.
    valences = BVAnalyzer().get_valences(AseAtomsAdaptor.get_structure(seed.atoms))
    assert sorted(valences) == pytest.approx(sorted(seed.atoms.get_initial_charges()))


def test_magnetite_has_mixed_valence(generate):
    seeds = generate(entry('spinel', A='Fe', B='Fe', X='O')).seeds
    assert len(seeds) > 1
    for seed in seeds:
        charges = seed.atoms.get_initial_charges()[seed.atoms.symbols == 'Fe']
        assert sorted(charges) == [2] * 8 + [3] * 16
        assert seed.atoms.get_initial_charges().sum() == 0


def test_the_element_with_more_known_states_has_the_uncommon_state(generate):
    (seed,) = generate(entry('perovskite', A='La', B='Mn', X='O')).seeds
    assert seed.record['oxidation_states'] == {'La': {'3': 1}, 'Mn': {'3': 1}, 'O': {'-2': 3}}


def test_several_states_can_be_set_for_mixed_valence(generate):
    fields = {'oxidation_states': {'Mn': [3, 4]}, 'supercell': [2, 2, 2], 'n_seeds': 1}
    (seed,) = generate(entry('perovskite', fields, A={'La': 0.75, 'Sr': 0.25}, B='Mn', X='O')).seeds
    assert seed.record['oxidation_states']['Mn'] == {'3': 6, '4': 2}
    assert 'vacancies' not in seed.record


@pytest.mark.parametrize(
    ('prototype', 'sites', 'vacant'),
    [
        ('fluorite', {'A': {'Zr': 0.875, 'Y': 0.125}, 'X': 'O'}, {'O': 2}),
        ('fluorite', {'A': {'Ce': 0.75, 'Gd': 0.25}, 'X': 'O'}, {'O': 4}),
        ('rocksalt', {'A': {'Na': 0.9375, 'Ca': 0.0625}, 'X': 'Cl'}, {'Na': 2}),
    ],
)
def test_aliovalent_ions_are_compensated_by_vacancies(generate, prototype, sites, vacant):
    seeds = generate(entry(prototype, {'supercell': [2, 2, 2], 'n_seeds': 4}, **sites)).seeds
    for seed in seeds:
        assert seed.record['vacancies'] == vacant
        assert seed.atoms.get_initial_charges().sum() == 0


def test_the_number_of_dopants_changes_by_one_if_vacancies_cannot_balance_the_charge(generate):
    fields = {'supercell': [2, 2, 2], 'n_seeds': 1, 'composition_tolerance': 0.05}
    (seed,) = generate(entry('fluorite', fields, A={'Zr': 0.9, 'Y': 0.1}, X='O')).seeds  # 3.2 Y on 32 sites
    assert seed.record['composition']['A'] == {'Zr': 28, 'Y': 4}
    assert seed.record['formal_charge'] == 0


def test_an_uncompensated_charge_is_recorded(generate):
    fields = {'supercell': [2, 2, 2], 'n_seeds': 1, 'compensation': 'none'}
    (seed,) = generate(entry('fluorite', fields, A={'Zr': 0.875, 'Y': 0.125}, X='O')).seeds
    assert len(seed.atoms) == 96
    assert seed.record['formal_charge'] == -4
    assert seed.record['compensation'] == 'none'


def test_schottky_defects_remove_neutral_formula_units(generate):
    fields = {'supercell': [2, 2, 2], 'n_seeds': 2, 'schottky': 2}
    for seed in generate(entry('fluorite', fields, A='Ca', X='F')).seeds:
        assert seed.atoms.symbols.formula.count() == {'Ca': 30, 'F': 60}
        assert seed.atoms.get_initial_charges().sum() == 0


def test_frenkel_defects_move_ions_into_voids(generate):
    fields = {'supercell': [2, 2, 2], 'n_seeds': 1, 'frenkel': {'F': 1}}
    perfect = generate(entry('fluorite', {'supercell': [2, 2, 2]}, A='Ca', X='F')).seeds[0].atoms
    (seed,) = generate(entry('fluorite', fields, A='Ca', X='F')).seeds
    moved = np.flatnonzero(np.abs(seed.atoms.positions - perfect.positions).max(axis=1) > 1e-6)
    assert len(moved) == 1
    # The voids of fluorite are the centres of the cubes of eight F, at (1/2, 1/2, 1/2) and equivalent positions.
    fraction = seed.atoms.positions[moved[0]] / (seed.record['a_A'] / 2) % 2
    assert np.allclose(fraction, np.round(fraction), atol=1e-6)
    assert np.round(fraction).sum() % 2 == 1


def test_the_error_of_an_unbalanced_compound_contains_the_nearest_states(generate):
    with refused(Code.CHARGE_UNBALANCED, 'Na4O4', 'rocksalt', 'Na1+ O2-', '-4 e'):
        generate(entry('rocksalt', A='Na', X='O'))


def test_too_many_aliovalent_ions_are_refused(generate):
    fields = {'supercell': [2, 2, 2]}
    with refused(Code.CHARGE_UNBALANCED, '8', '24', 'Na', '0.25'):
        generate(entry('rocksalt', fields, A={'Na': 0.75, 'Ca': 0.25}, X='Cl'))


@pytest.mark.parametrize(
    ('fields', 'sites', 'code', 'values'),
    [
        ({}, {'A': 'Sr', 'X': 'O'}, Code.SITES_MISMATCH, ['perovskite', 'A, B, X']),
        ({'oxidation_states': {'Fe': 2}}, {'A': 'Sr', 'B': 'Ti', 'X': 'O'}, Code.KEY_UNKNOWN,
         ['oxidation_states', 'Fe', 'O, Sr, Ti']),
        ({}, {'A': {'Sr': 0.5}, 'B': 'Ti', 'X': 'O'}, Code.COMPOSITION_INVALID, ['sites.A', '0.5']),
    ],
)  # fmt: skip
def test_sites_that_the_prototype_does_not_have_are_refused(fields, sites, code, values):
    with refused(code, *values):
        IonicSettings(prototype='perovskite', sites=sites, **fields)


def test_ionic_radii_are_those_of_shannon():
    assert ionic_radius('Mg', 2, 6) == 0.72
    assert ionic_radius('O', -2, 6) == 1.40
    assert ionic_radius('Fe', 2, 6) == 0.78  # high spin


def test_states_are_balanced_exactly():
    iron = {'Fe': {2: 0.0, 3: 0.0}, 'O': {-2: 0.0}}
    assert balanced({'Fe': 3, 'O': 4}, iron) == [{'Fe': {2: 1, 3: 2}, 'O': {-2: 4}}]
    assert balanced({'Fe': 2, 'O': 4}, iron) == []


# Compounds whose states balance, with the number of ions in a cell of each; nothing may be removed from them.
BALANCED = [
    ('spinel', {'A': 'Fe', 'B': {'Ni': 0.5, 'Fe': 0.5}, 'X': 'O'}, (1, 1, 1),
     {'Fe': {'3': 16}, 'Ni': {'2': 8}, 'O': {'-2': 32}}),
    ('perovskite', {'A': {'Na': 0.5, 'Bi': 0.5}, 'B': 'Ti', 'X': 'O'}, (2, 2, 2),
     {'Na': {'1': 4}, 'Bi': {'3': 4}, 'Ti': {'4': 8}, 'O': {'-2': 24}}),
    ('perovskite', {'A': 'Pb', 'B': {'Mg': 0.3333, 'Nb': 0.6667}, 'X': 'O'}, (3, 3, 3),
     {'Pb': {'2': 27}, 'Mg': {'2': 9}, 'Nb': {'5': 18}, 'O': {'-2': 81}}),
    ('perovskite', {'A': 'Ba', 'B': 'Ta', 'X': {'O': 0.6667, 'N': 0.3333}}, (2, 2, 2),
     {'Ba': {'2': 8}, 'Ta': {'5': 8}, 'O': {'-2': 16}, 'N': {'-3': 8}}),
    ('perovskite', {'A': {'La': 0.67, 'Sr': 0.33}, 'B': 'Mn', 'X': 'O'}, (3, 3, 3),
     {'La': {'3': 18}, 'Sr': {'2': 9}, 'Mn': {'3': 18, '4': 9}, 'O': {'-2': 81}}),
    ('rocksalt', {'A': {'Mg': 0.25, 'Co': 0.25, 'Ni': 0.25, 'Cu': 0.25}, 'X': 'O'}, (2, 2, 2),
     {'Mg': {'2': 8}, 'Co': {'2': 8}, 'Ni': {'2': 8}, 'Cu': {'2': 8}, 'O': {'-2': 32}}),
]  # fmt: skip


@pytest.mark.parametrize('reverse', [False, True])
@pytest.mark.parametrize(('prototype', 'sites', 'supercell', 'states'), BALANCED)
def test_a_composition_that_balances_loses_no_ions_for_any_order_of_keys(
    generate, prototype, sites, supercell, states, reverse
):
    if reverse:
        sites = {
            role: dict(reversed(found.items())) if isinstance(found, dict) else found
            for role, found in reversed(sites.items())
        }
    fields = {'supercell': supercell, 'n_seeds': 1, 'composition_tolerance': 0.05}
    (seed,) = generate(entry(prototype, {**fields, 'validation': {'cell': 'as_given'}}, **sites)).seeds
    assert seed.record['oxidation_states'] == states
    assert 'vacancies' not in seed.record
    assert seed.atoms.get_initial_charges().sum() == 0


def test_the_next_most_usual_states_are_recorded(generate):
    (seed,) = generate(entry('perovskite', {'n_seeds': 1}, A='La', B={'Ni': 0.5, 'Mn': 0.5}, X='O')).seeds
    assert list(seed.record['oxidation_states']['Mn']) == ['4']
    assert 'La3+ Ni3+ Mn3+ O2-' in seed.record['alternative_states']


def test_vacancies_compensate_instead_of_the_valence_if_requested(generate):
    fields = {'supercell': [2, 2, 2], 'n_seeds': 1, 'compensation': 'vacancies'}
    (seed,) = generate(entry('perovskite', fields, A={'La': 0.75, 'Sr': 0.25}, B='Mn', X='O')).seeds
    assert seed.record['vacancies'] == {'O': 1}
    assert seed.record['oxidation_states']['Mn'] == {'3': 8}


def test_the_composition_stays_within_its_tolerance(generate):
    # One La on eight sites of Sr has no vacancy that balances it; two would be 0.25 instead of 0.125.
    fields = {'supercell': [2, 2, 2], 'n_seeds': 1, 'validation': {'cell': 'as_given'}}
    sites = {'A': {'Sr': 0.875, 'La': 0.125}, 'B': 'Ti', 'X': 'O'}
    (seed,) = generate(entry('perovskite', fields, **sites)).seeds
    assert seed.record['composition']['A'] == {'Sr': 7, 'La': 1}
    assert seed.record['oxidation_states']['Ti'] == {'3': 1, '4': 7}
    with refused(Code.COMPOSITION_IMPOSSIBLE, '0.02', 'La0.25', 'composition_tolerance'):
        generate(entry('perovskite', {**fields, 'compensation': 'vacancies'}, **sites))


@pytest.mark.parametrize(
    ('prototype', 'sites', 'fields'),
    [
        ('perovskite', {'A': {'Sr': 0.875, 'La': 0.125}, 'B': 'Ti', 'X': 'O'}, {'compensation': 'vacancies'}),
        ('fluorite', {'A': {'Zr': 0.9, 'Y': 0.1}, 'X': 'O'}, {}),
        ('fluorite', {'A': {'Zr': 0.87, 'Y': 0.13}, 'X': 'O'}, {'composition_tolerance': 0.005}),
        ('rocksalt', {'A': {'Na': 0.8, 'Ca': 0.2}, 'X': 'Cl'}, {}),
        ('layered_rocksalt', {'A': 'Li', 'B': {'Co': 0.9, 'Ti': 0.1}, 'X': 'O'}, {'compensation': 'vacancies'}),
    ],
)
@pytest.mark.parametrize('cut', [False, True])
def test_compensation_keeps_every_fraction_of_the_sites_within_the_tolerance(generate, prototype, sites, fields, cut):
    of = entry(prototype, fields, **sites)
    slab = {'kind': 'surface', 'of': of, 'miller_indices': [[1, 0, 0]], 'n_planes': 2, 'polar': 'allow'}
    (seed, *_) = generate({**(slab if cut else of), 'n_seeds': 1}, cutoff_A=2.5).seeds
    record = seed.record['of'] if cut else seed.record
    assert record['formal_charge'] == seed.atoms.get_initial_charges().sum() == 0
    assert record['vacancies']
    present = seed.atoms.symbols.formula.count()
    for role, fractions in sites.items():
        if isinstance(fractions, dict):
            ions = {s: present[s] + record['vacancies'].get(s, 0) for s in fractions}
            assert ions == record['composition'][role]
            for symbol, number in ions.items():
                limit = fields.get('composition_tolerance', 0.02)
                assert abs(number / sum(ions.values()) - fractions[symbol]) <= limit + 1e-9


# Bond lengths in Å: LiFePO4 (Streltsov 1993), Y3Al5O12 (Euler and Bruce 1965), NaZr2P3O12 (Hagman, Kierkegaard 1968).
@pytest.mark.parametrize(
    ('prototype', 'sites', 'number', 'a_A', 'formula', 'bonds'),
    [
        ('olivine', {'A': 'Li', 'B': 'Fe', 'T': 'P', 'X': 'O'}, 62, 10.332, {'Li': 4, 'Fe': 4, 'P': 4, 'O': 16},
         {'P': (4, 1.545), 'Fe': (6, 2.157), 'Li': (6, 2.149)}),
        ('garnet', {'A': 'Y', 'B': 'Al', 'T': 'Ga', 'X': 'O'}, 230, 12.0, {'Y': 24, 'Al': 16, 'Ga': 24, 'O': 96},
         {'Ga': (4, 1.761), 'Al': (6, 1.937), 'Y': (8, 2.368)}),
        ('NASICON', {'A': 'Na', 'B': 'Zr', 'T': 'P', 'X': 'O'}, 167, 8.8043, {'Na': 6, 'Zr': 12, 'P': 18, 'O': 72},
         {'P': (4, 1.53), 'Zr': (6, 2.066), 'Na': (6, 2.54)}),
    ],
)  # fmt: skip
def test_a_structure_type_with_tetrahedra_has_the_bonds_of_the_real_crystal(
    generate, prototype, sites, number, a_A, formula, bonds
):
    (seed,) = generate(entry(prototype, {'a_A': a_A}, **sites)).seeds
    cell = (seed.atoms.cell.array, seed.atoms.get_scaled_positions(), seed.atoms.numbers)
    assert spglib.get_symmetry_dataset(cell, 1e-4).number == number
    assert seed.atoms.symbols.formula.count() == formula
    assert seed.record['formal_charge'] == 0
    i, j, d = neighbor_list('ijd', seed.atoms, 3.0)
    for symbol, (coordination, length) in bonds.items():
        own = np.sort(d[(i == np.flatnonzero(seed.atoms.symbols == symbol)[0]) & (seed.atoms.symbols[j] == 'O')])
        assert own[:coordination].mean() == pytest.approx(length, abs=0.015)
        assert len(own) == coordination or own[coordination] > own[coordination - 1] + 0.2
    (default,) = generate(entry(prototype, **sites)).seeds
    assert default.record['a_A'] == pytest.approx(a_A, rel=0.045)


def test_the_ions_of_olivine_nasicon_and_garnet_are_guessed(generate):
    for prototype, sites, states in [
        ('olivine', {'A': 'Li', 'B': 'Fe', 'T': 'P', 'X': 'O'}, {'Li': '1', 'Fe': '2', 'P': '5'}),
        ('NASICON', {'A': 'Na', 'B': 'Zr', 'T': 'P', 'X': 'O'}, {'Na': '1', 'Zr': '4', 'P': '5'}),
        ('garnet', {'A': 'Y', 'B': 'Al', 'T': 'Al', 'X': 'O'}, {'Y': '3', 'Al': '3'}),
    ]:
        (seed,) = generate(entry(prototype, **sites)).seeds
        for symbol, state in states.items():
            assert list(seed.record['oxidation_states'][symbol]) == [state]
