"""Isolated atoms, pairs and triples of atoms."""

from __future__ import annotations

import numpy as np
import pytest
from ase.calculators.emt import EMT
from ase.data import atomic_numbers, covalent_radii
from support.errors import refused

from aiida_mlip_autopipe.config import CampaignConfig
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import ConfigError
from aiida_mlip_autopipe.generation import complete_elements

ALLOY = {'kind': 'alloy', 'composition': {'Cu': 0.5, 'Au': 0.5}, 'n_atoms': 8, 'n_seeds': 1}
OXIDE = {'kind': 'ionic', 'prototype': 'rocksalt', 'sites': {'A': 'Ni', 'X': 'O'}}


def sum_of_radii(pair: str) -> float:
    return sum(covalent_radii[atomic_numbers[symbol]] for symbol in pair.split('-'))


def test_the_atoms_are_those_of_the_other_entries(make_entries):
    entries = complete_elements(
        make_entries(ALLOY, {'kind': 'atom'}, OXIDE, {'kind': 'dimer'}, {'kind': 'formula', 'formula': 'FeS2'})
    )
    assert entries[1].symbols == entries[3].symbols == ('Au', 'Cu', 'Fe', 'Ni', 'O', 'S')
    given = complete_elements(
        make_entries(ALLOY, {'kind': 'atom', 'symbols': ['H']}, {'kind': 'dimer', 'pairs': ['H-Cu']})
    )
    assert given[1].symbols == ('H',)
    assert given[2].elements() == {'H', 'Cu'}
    # Elements of other explicit entries of few atoms count too.
    assert complete_elements(make_entries({'kind': 'dimer', 'pairs': ['H-Cu']}, {'kind': 'atom'}))[1].symbols == (
        'Cu',
        'H',
    )


def test_a_config_completes_its_elements_and_refuses_unknown_ones(tmp_path):
    base = {'name': 'few', 'calculator': {'kind': 'emt'}}
    config = CampaignConfig.model_validate({**base, 'generation': [ALLOY, {'kind': 'atom'}]})
    assert config.generation[1].symbols == ('Au', 'Cu')
    assert config.n_seeds == 3
    again = CampaignConfig.model_validate(config.model_dump(mode='json'))
    assert again.generation == config.generation
    from aiida_mlip_autopipe.config import load_config

    path = tmp_path / 'few.yaml'
    path.write_text(
        'name: few\ngeneration:\n  - {kind: atom}\n  - kind: structures\n    query: {filter: nelements=2}\n'
    )
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert [(fault.code, fault.path) for fault in caught.value.faults] == [(Code.VALUE_MISSING, 'generation[0]')]


def test_an_atom_is_alone_in_a_box_without_periodic_directions(generate):
    seeds = generate({'kind': 'atom', 'symbols': ['Cu', 'O', 'Cu'], 'magnetic_moments': {'O': 2}}).seeds
    assert [seed.atoms.get_chemical_formula() for seed in seeds] == ['Cu', 'O']
    assert [seed.record['form'] for seed in seeds] == ['molecule'] * 2
    assert [seed.atoms.get_initial_magnetic_moments().tolist() for seed in seeds] == [[0], [2]]
    for seed in seeds:
        assert not seed.atoms.pbc.any()
        assert np.allclose(seed.atoms.cell.lengths(), 30)
    assert [seed.seed_id for seed in generate({'kind': 'atom', 'symbols': ['Cu']}, random_seed=3).seeds] == [
        seeds[0].seed_id
    ]


def test_dimers_of_all_pairs_are_at_exact_distances_up_to_the_cutoff(generate):
    seeds = generate({'kind': 'dimer', 'symbols': ['Cu', 'Au'], 'n_points': 8}, cutoff_A=6.0).seeds
    curves: dict[str, list[float]] = {}
    for seed in seeds:
        assert seed.atoms.get_chemical_symbols() == seed.record['pair'].split('-')
        distance = seed.atoms.get_distance(0, 1)
        assert distance == pytest.approx(seed.record['distance_A'], abs=1e-9)
        curves.setdefault(seed.record['pair'], []).append(distance)
    assert list(curves) == ['Cu-Cu', 'Cu-Au', 'Au-Au']
    for pair, distances in curves.items():
        assert len(distances) == 8
        assert distances[0] == pytest.approx(0.6 * sum_of_radii(pair), abs=1e-9)
        assert distances[-1] == pytest.approx(6.0, abs=1e-9)
        ratios = np.array(distances[1:]) / distances[:-1]
        assert np.allclose(ratios, ratios[0])
    # The curve has a minimum inside, so the atoms neither overlap completely nor are all apart.
    energies = []
    for seed in seeds[:8]:
        seed.atoms.calc = EMT()
        energies.append(seed.atoms.get_potential_energy())
    assert 0 < int(np.argmin(energies)) < 7


def test_given_distances_are_used_for_given_pairs(generate):
    seeds = generate({'kind': 'dimer', 'pairs': ['O-H', 'H-O', 'O-O'], 'distances_A': [0.2, 9.5]}).seeds
    found = [(seed.record['pair'], round(seed.atoms.get_distance(0, 1), 9)) for seed in seeds]
    assert found == [('O-H', 0.2), ('O-H', 9.5), ('O-O', 0.2), ('O-O', 9.5)]  # too close and isolated, but exempt


def test_trimers_have_their_bonds_and_angles_and_none_is_made_twice(generate):
    entry = {'kind': 'dimer', 'symbols': ['Si', 'H'], 'n_points': 2, 'trimers': True}
    result = generate(entry, cutoff_A=5.0)
    trimers = [seed for seed in result.seeds if 'trimer' in seed.record]
    assert len(result.seeds) == 3 * 2 + len(trimers) == result.report['made']
    shapes = set()
    for seed in trimers:
        first, centre, second = seed.record['trimer'].split('-')
        assert seed.atoms.get_chemical_symbols() == [first, centre, second]
        bonds = [seed.atoms.get_distance(1, 0), seed.atoms.get_distance(1, 2)]
        assert bonds == pytest.approx(seed.record['distances_A'], abs=1e-9)
        factors = [bonds[0] / sum_of_radii(f'{first}-{centre}'), bonds[1] / sum_of_radii(f'{second}-{centre}')]
        assert all(min(abs(factor - allowed) for allowed in (0.8, 1.0, 1.3)) < 1e-9 for factor in factors)
        assert seed.atoms.get_angle(0, 1, 2) == pytest.approx(seed.record['angle_deg'], abs=1e-6)
        span = seed.atoms.get_distance(0, 2)
        assert span >= 0.6 * sum_of_radii(f'{first}-{second}')
        sides = [(first, centre, bonds[0]), (second, centre, bonds[1]), (first, second, span)]
        shapes.add(tuple(sorted((*sorted(side[:2]), round(side[2], 3)) for side in sides)))
    assert len(shapes) == len(trimers)
    # All combinations of elements occur, although two silicon ends around hydrogen are often too close.
    assert {seed.record['trimer'] for seed in trimers} == {
        'H-H-H',
        'H-H-Si',
        'H-Si-H',
        'H-Si-Si',
        'Si-H-Si',
        'Si-Si-Si',
    }
    (note,) = result.report['entries']['0']['notes']
    assert int(note.split()[-1]) > 0


@pytest.mark.parametrize(
    ('entry', 'code', 'values'),
    [
        ({'kind': 'atom'}, Code.VALUE_MISSING, ['symbols', 'atom']),
        ({'kind': 'dimer'}, Code.VALUE_MISSING, ['symbols', 'dimer']),
        ({'kind': 'atom', 'symbols': ['Xx']}, Code.ELEMENT_UNKNOWN, ["'Xx'"]),
        ({'kind': 'atom', 'symbols': ['Cu'], 'perturb': {'rattle_A': 0.1}}, Code.VALUES_EXCLUDE, ['perturb', 'atom']),
        ({'kind': 'dimer', 'symbols': ['Cu'], 'validation': {'max_atoms': 5}}, Code.VALUES_EXCLUDE, ['validation']),
        ({'kind': 'dimer', 'pairs': ['CuAu']}, Code.WRONG_PATTERN, ["'CuAu'"]),
        ({'kind': 'dimer', 'pairs': ['Cu-Cu'], 'symbols': ['Cu']}, Code.VALUES_EXCLUDE, ['symbols', 'pairs']),
        ({'kind': 'dimer', 'symbols': ['Cu'], 'distances_A': [2.0], 'n_points': 3}, Code.VALUES_EXCLUDE, ['n_points']),
        ({'kind': 'dimer', 'symbols': ['Cu'], 'distances_A': [2.0, 2.0]}, Code.VALUE_INVALID, ['distances_A']),
        ({'kind': 'dimer', 'symbols': ['Cu'], 'trimer_factors': [1.0]}, Code.VALUES_INCOMPLETE, ['trimers: true']),
        ({'kind': 'dimer', 'symbols': ['Cu'], 'max_distance_A': 1.5}, Code.OUT_OF_RANGE, ['Cu-Cu', '1.5', '1.584']),
    ],
)  # fmt: skip
def test_invalid_entries_are_refused(generate, entry, code, values):
    with refused(code, *values):
        generate(entry, cutoff_A=5.0)


def test_more_seeds_than_structures_are_refused_before_anything_runs():
    from aiida_mlip_autopipe.config.checks.seeds import check_seeds

    entry = {'kind': 'atom', 'symbols': ['Cu'], 'n_seeds': 2}
    config = CampaignConfig.model_validate({'name': 'few', 'calculator': {'kind': 'emt'}, 'generation': [entry]})
    with refused(Code.OUT_OF_RANGE, 'generation[0]', 'n_seeds: 2', ' 1 '):
        check_seeds(config)


@pytest.mark.parametrize('entry', [{'kind': 'atom', 'symbols': ['Cu', 'Au']}, {'kind': 'dimer', 'symbols': ['Cu']}])
def test_equal_structures_of_two_entries_are_made_once_and_reported(generate, entry):
    alone = generate(entry, cutoff_A=6.0)
    both = generate(entry, {**entry, 'label': 'again'}, cutoff_A=6.0)
    assert [seed.seed_id for seed in both.seeds] == [seed.seed_id for seed in alone.seeds]
    assert (both.report['requested'], both.report['duplicates']) == (2 * len(alone.seeds), len(alone.seeds))
    assert both.report['entries']['1']['made'] == 0


def test_dimers_beyond_the_range_of_a_fingerprint_are_different(generate):
    result = generate({'kind': 'dimer', 'pairs': ['H-H'], 'distances_A': [20.0, 30.0]})
    assert (len(result.seeds), result.report['duplicates']) == (2, 0)
