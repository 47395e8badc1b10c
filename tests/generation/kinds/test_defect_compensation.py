"""Charged defects of ionic crystals that other ions or counter-defects balance."""

from __future__ import annotations

import numpy as np
import pytest
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.generation.kinds.defect import DefectSettings


def ionic(prototype: str, repeats: int, **sites) -> dict:
    return {'kind': 'ionic', 'prototype': prototype, 'sites': sites, 'supercell': [repeats] * 3}


CEO2, ZRO2 = (ionic('fluorite', 2, A=metal, X='O') for metal in ('Ce', 'Zr'))
CAF2 = ionic('fluorite', 2, A='Ca', X='F')
MGO = ionic('rocksalt', 2, A='Mg', X='O')
MNO2 = ionic('rutile', 3, A='Mn', X='O')
SRTIO3 = ionic('perovskite', 3, A='Sr', B='Ti', X='O')
LAMNO3 = ionic('perovskite', 3, A='La', B='Mn', X='O')
MANGANITE = ionic('perovskite', 2, A={'La': 0.75, 'Sr': 0.25}, B='Mn', X='O')
NMC = {**ionic('layered_rocksalt', 3, A='Li', B={'Ni': 1 / 3, 'Mn': 1 / 3, 'Co': 1 / 3}, X='O'), 'supercell': [3, 3, 1]}
MAGNETITE = ionic('spinel', 1, A='Fe', B='Fe', X='O')
QUARTZ = {'kind': 'covalent', 'structure': 'quartz', 'sites': {'A': 'Si', 'X': 'O'}}


def defect(of: dict, **fields) -> dict:
    return {'kind': 'defect', 'of': of, 'n_seeds': 2, **fields}


@pytest.mark.parametrize(
    ('of', 'symbol', 'states', 'n_neighbours'),
    [
        (CEO2, 'Ce', {4: 30, 3: 2}, 4),
        (MNO2, 'Mn', {4: 52, 3: 2}, 3),
        (SRTIO3, 'Ti', {4: 25, 3: 2}, 2),
        (LAMNO3, 'Mn', {3: 25, 2: 2}, 2),
    ],
)
def test_neighbours_of_an_oxygen_vacancy_are_reduced(generate, of, symbol, states, n_neighbours):
    perfect = generate(of).seeds[0].atoms
    for seed in generate(defect(of, vacancies={'O': 1}, compensation='valence')).seeds:
        charges = seed.atoms.get_initial_charges()
        of_symbol = charges[seed.atoms.symbols == symbol]
        assert {int(state): int(np.sum(of_symbol == state)) for state in set(of_symbol)} == states
        assert charges.sum() == seed.record['formal_charge'] == 0
        (vacancy,) = (
            i for i, p in enumerate(perfect.positions) if np.linalg.norm(seed.atoms.positions - p, axis=1).min() > 0.1
        )
        cations = np.flatnonzero(perfect.symbols == symbol)
        nearest = cations[np.argsort(perfect.get_distances(vacancy, cations, mic=True))][:n_neighbours]
        kept = np.delete(np.arange(len(perfect)), vacancy)
        reduced = kept[(seed.atoms.symbols == symbol) & (charges == min(states))]
        assert set(reduced) <= set(nearest)
        high, low = max(states), min(states)
        assert seed.record['compensation'] == {'valence': {f'{symbol}{high}+ to {symbol}{low}+': 2}}


@pytest.mark.parametrize(
    ('of', 'fields', 'changes'),
    [
        # The highest states are reduced first, and the lowest are oxidised first.
        (MANGANITE, {'vacancies': {'O': 1}}, {'Mn4+ to Mn3+': 2}),
        (MANGANITE, {'vacancies': {'O': 2}}, {'Mn4+ to Mn3+': 2, 'Mn3+ to Mn2+': 2}),
        # In a battery cathode that loses lithium, nickel is oxidised before cobalt and manganese.
        (NMC, {'vacancies': {'Li': 4}}, {'Ni2+ to Ni3+': 4}),
        (MGO, {'vacancies': {'Mg': 1}, 'compensation': {'valence': 'O'}}, {'O2- to O1-': 2}),
        (ZRO2, {'vacancies': {'O': 1}, 'compensation': {'valence': 'Zr'}}, {'Zr4+ to Zr3+': 2}),
        (LAMNO3, {'substitutions': {'La': {'Sr': 3}}}, {'Mn3+ to Mn4+': 3}),
        (CEO2, {'vacancy_clusters': [{'O': 2}]}, {'Ce4+ to Ce3+': 4}),
    ],
)
def test_the_ions_that_take_up_the_charge_are_the_usual_ones(generate, of, fields, changes):
    (seed,) = generate(defect(of, **{'compensation': 'valence', **fields, 'n_seeds': 1})).seeds
    assert seed.record['compensation'] == {'valence': changes}
    assert seed.atoms.get_initial_charges().sum() == seed.record['formal_charge'] == 0


@pytest.mark.parametrize(
    ('of', 'fields', 'formula'),
    [
        (ZRO2, {'substitutions': {'Zr': {'Y': 4}}, 'compensation': 'vacancies'}, {'Zr': 28, 'Y': 4, 'O': 62}),
        (ZRO2, {'substitutions': {'Zr': {'Y': 0.12}}, 'compensation': 'vacancies'}, {'Zr': 28, 'Y': 4, 'O': 62}),
        (MGO, {'substitutions': {'Mg': {'Al': 2}}, 'compensation': 'vacancies'}, {'Mg': 29, 'Al': 2, 'O': 32}),
        (MGO, {'substitutions': {'Mg': {'Al': 2}}, 'compensation': {'vacancies': 'Mg'}}, {'Mg': 29, 'Al': 2, 'O': 32}),
        (MGO, {'substitutions': {'Mg': {'Al': 3}}, 'compensation': {'substitutions': {'Mg': 'Li'}}},
         {'Mg': 26, 'Al': 3, 'Li': 3, 'O': 32}),
        (MGO, {'vacancies': {'Mg': 2}, 'compensation': 'vacancies'}, {'Mg': 30, 'O': 30}),  # Schottky
        (CAF2, {'vacancies': {'F': 2}, 'compensation': {'interstitials': 'F'}}, {'Ca': 32, 'F': 64}),  # Frenkel
        (CAF2, {'substitutions': {'Ca': {'Y': 2}}, 'compensation': {'interstitials': 'F'}},
         {'Ca': 30, 'Y': 2, 'F': 66}),
        # Also without compensation, if the numbers balance.
        (CAF2, {'vacancies': {'Ca': 1, 'F': 2}}, {'Ca': 31, 'F': 62}),
        (CAF2, {'vacancies': {'F': 1}, 'interstitials': {'F': 1}}, {'Ca': 32, 'F': 64}),
    ],
)  # fmt: skip
def test_counter_defects_balance_the_charge(generate, of, fields, formula):
    for seed in generate(defect(of, **fields)).seeds:
        assert seed.atoms.symbols.formula.count() == formula
        assert seed.atoms.get_initial_charges().sum() == seed.record['formal_charge'] == 0


def test_sodium_balances_aluminium_in_quartz(generate):
    fields = {'substitutions': {'Si': {'Al': 0.1}}, 'compensation': {'interstitials': 'Na'}}
    (seed,) = generate(defect({**QUARTZ, 'supercell': [2, 2, 2]}, **fields, n_seeds=1)).seeds
    assert seed.atoms.symbols.formula.count() == {'Si': 22, 'Al': 2, 'O': 48, 'Na': 2}
    charges = {s: set(seed.atoms.get_initial_charges()[seed.atoms.symbols == s]) for s in ('Si', 'Al', 'O', 'Na')}
    assert charges == {'Si': {4}, 'Al': {3}, 'O': {-2}, 'Na': {1}}
    assert seed.record['compensation'] == {'interstitials': {'Na': 2}}


def test_a_counter_interstitial_does_not_fill_a_vacancy_or_an_occupied_void(generate):
    fields = {'vacancies': {'F': 32}, 'interstitials': {'F': 28}, 'compensation': {'interstitials': 'F'}}
    perfect = generate(CAF2).seeds[0].atoms
    for seed in generate(defect(CAF2, **fields)).seeds:
        assert seed.record['compensation'] == {'interstitials': {'F': 4}}
        on_sites = sum(np.linalg.norm(perfect.positions - p, axis=1).min() < 0.1 for p in seed.atoms.positions)
        assert on_sites == 96 - 32
        distances = seed.atoms.get_all_distances(mic=True)
        assert distances[~np.eye(len(distances), dtype=bool)].min() > 1.5


def test_defects_of_a_mixed_valent_crystal_are_balanced_in_every_draw(generate):
    # Al3+ on Fe3+ is neutral, and Al3+ on Fe2+ is not.
    seeds = generate(defect(MAGNETITE, substitutions={'Fe': {'Al': 1}}, compensation='valence', n_seeds=8)).seeds
    done = [seed.record['compensation'] for seed in seeds]
    assert {} in done
    assert {'valence': {'Fe3+ to Fe2+': 1}} in done
    for seed in seeds:
        charges = seed.atoms.get_initial_charges()
        assert charges.sum() == 0
        assert charges[seed.atoms.symbols == 'Al'] == 3


def test_ions_of_fixed_atoms_keep_their_charge(generate):
    slab = {'kind': 'surface', 'of': {**CEO2, 'supercell': None}, 'miller_indices': [[1, 1, 1]], 'n_layers': 3,
            'fixed_layers': 2}  # fmt: skip
    entry = defect(slab, vacancies={'O': 1}, sites='distinct', compensation='valence', n_seeds=None)
    seeds = generate(entry, cutoff_A=3.0).seeds
    assert len(seeds) > 1
    for seed in seeds:
        reduced = (seed.atoms.symbols == 'Ce') & (seed.atoms.get_initial_charges() == 3)
        assert reduced.sum() == 2
        assert not seed.arrays()['fixed'][reduced].any()


@pytest.mark.parametrize(
    ('of', 'fields', 'values'),
    [
        (CEO2, {'vacancies': {'O': 1}},
         ['+2 e', '2 Ce3+', 'Ce4+', 'compensation: valence', '1 Ce vacancy', '2 O vacancies', 'charged: true']),
        (CEO2, {'vacancy_clusters': [{'O': 3}]}, ['+6 e', '6 Ce3+', '3 Ce vacancies', '2 times']),
        (MGO, {'vacancies': {'Mg': 1}}, ['-2 e', '1 O vacancy', 'compensation: vacancies', 'charged: true']),
        (ZRO2, {'substitutions': {'Zr': {'Y': 1}}}, ['-1 e', '1 O vacancy', '2 Y on Zr', 'charged: true']),
        (ZRO2, {'substitutions': {'Zr': {'Y': 1}}, 'compensation': 'vacancies'}, ['-1 e', '1 O vacancy', '2 Y on Zr']),
        (ZRO2, {'vacancies': {'O': 1}, 'compensation': 'valence'}, ['+2 e', '1 Zr vacancy', '2 O vacancies']),
        (MGO, {'vacancies': {'O': 1}, 'compensation': {'interstitials': 'Li'}}, ['+2 e', 'Li', '1 Mg vacancy']),
    ],
)  # fmt: skip
def test_a_refused_charge_names_what_would_balance_it(generate, of, fields, values):
    with refused(Code.STRUCTURE_INVALID, *values) as caught:
        generate(defect(of, **fields))
    assert caught.value.rule == 'formal_charge'


@pytest.mark.parametrize(
    ('of', 'fields', 'code', 'values'),
    [
        ({'kind': 'alloy', 'composition': {'Cu': 1.0}}, {'vacancies': {'Cu': 1}, 'compensation': 'valence'},
         Code.HOST_UNSUITABLE, ['compensation', 'Cu']),
        (MGO, {'vacancies': {'Mg': 1, 'O': 1}, 'compensation': 'vacancies'}, Code.VALUE_INVALID, ['compensation']),
        (MGO, {'vacancies': {'O': 1}, 'compensation': {'valence': 'Zn'}}, Code.SITE_MISSING, ['Mg32O32', 'Zn']),
        (MGO, {'vacancies': {'O': 32}, 'compensation': {'vacancies': 'Mg'}, 'charged': True}, Code.VALUES_EXCLUDE,
         ['compensation', 'charged']),
        (MGO, {'vacancies': {'O': 31}, 'substitutions': {'Mg': {'Be': 8}}, 'compensation': {'vacancies': 'Mg'}},
         Code.TOO_MANY_DEFECTS, ['31', '24', 'Mg']),
        (MGO, {'vacancies': {'O': 1}, 'compensation': 'vacancies', 'sites': 'distinct'}, Code.VALUE_INVALID,
         ['sites: distinct', 'sites: random']),
        (MGO, {'vacancies': {'O': 1}, 'compensation': {'valence': 'Mg', 'vacancies': 'Mg'}}, Code.VALUES_EXCLUDE,
         ['compensation', 'valence', 'substitutions']),
        (MGO, {'vacancies': {'O': 1}, 'compensation': {}}, Code.VALUES_EXCLUDE, ['compensation', 'valence']),
    ],
)  # fmt: skip
def test_an_impossible_compensation_is_refused(generate, of, fields, code, values):
    with refused(code, *values):
        generate(defect(of, **fields))


def test_elements_of_counter_defects_are_known_before_any_seed_is_made():
    for choice in ({'interstitials': 'Na'}, {'substitutions': {'O': 'Na'}}):
        entry = DefectSettings(of=QUARTZ, substitutions={'Si': {'Al': 1}}, compensation=choice)
        assert entry.elements() >= {'Al', 'Na'}
