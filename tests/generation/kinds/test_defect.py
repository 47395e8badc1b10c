from __future__ import annotations

import numpy as np
import pytest
import spglib
from ase.geometry import get_distances
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.generation.kinds.defect import DefectSettings
from aiida_mlip_autopipe.structures.duplicates import fingerprint
from aiida_mlip_autopipe.structures.vacuum import empty_layers

CU3AU = {'kind': 'alloy', 'composition': {'Cu': 0.75, 'Au': 0.25}, 'arrangement': 'L1_2', 'supercell': [3, 3, 3]}
MGO = {'kind': 'ionic', 'prototype': 'rocksalt', 'sites': {'A': 'Mg', 'X': 'O'}, 'supercell': [2, 2, 2]}
GAAS = {'kind': 'ionic', 'prototype': 'zincblende', 'sites': {'A': 'Ga', 'X': 'As'}, 'supercell': [2, 2, 2]}


def defect(of: dict, **fields) -> dict:
    return {'kind': 'defect', 'of': of, 'n_seeds': 3, **fields}


@pytest.mark.parametrize(
    ('defects', 'counts'),
    [
        ({'vacancies': {'Cu': 2}}, {'Cu': 79, 'Au': 27}),
        ({'vacancies': {'Cu': 0.05, 'Au': 1}}, {'Cu': 77, 'Au': 26}),
        ({'divacancies': {'Cu-Au': 1}}, {'Cu': 80, 'Au': 26}),
        ({'substitutions': {'Cu': {'Ag': 3, 'Pd': 1}}}, {'Cu': 77, 'Au': 27, 'Ag': 3, 'Pd': 1}),
        ({'antisites': {'Cu-Au': 2}}, {'Cu': 81, 'Au': 27}),
        ({'interstitials': {'C': 2}}, {'Cu': 81, 'Au': 27, 'C': 2}),
        ({'interstitials': {'C': 0.03}}, {'Cu': 81, 'Au': 27, 'C': 3}),
        ({'vacancies': {'Cu': 1}, 'interstitials': {'Cu': 1}}, {'Cu': 81, 'Au': 27}),
    ],
)
def test_the_number_of_defects_is_correct(generate, defects, counts):
    for seed in generate(defect(CU3AU, **defects)).seeds:
        assert dict(seed.atoms.symbols.formula.count()) == counts


def test_the_atoms_of_a_divacancy_are_neighbours(generate):
    perfect = generate(CU3AU).seeds[0].atoms
    (seed,) = generate(defect(CU3AU, n_seeds=1, divacancies={'Cu-Au': 1})).seeds
    removed = [
        i for i, p in enumerate(perfect.positions) if np.linalg.norm(seed.atoms.positions - p, axis=1).min() > 0.1
    ]
    assert sorted(perfect.symbols[removed]) == ['Au', 'Cu']
    nearest = np.sort(perfect.get_all_distances(mic=True)[0])[1]
    assert perfect.get_distance(*removed, mic=True) == pytest.approx(nearest)


def test_antisites_exchange_elements_and_keep_positions(generate):
    perfect = generate(CU3AU).seeds[0].atoms
    (seed,) = generate(defect(CU3AU, n_seeds=1, antisites={'Cu-Au': 2})).seeds
    assert np.allclose(seed.atoms.positions, perfect.positions)
    changed = seed.atoms.numbers != perfect.numbers
    assert changed.sum() == 4


def test_interstitials_are_in_voids_of_fcc(generate):
    copper = {'kind': 'alloy', 'composition': {'Ni': 1.0}, 'arrangement': 'random', 'supercell': [2, 2, 2]}
    (seed,) = generate(defect(copper, n_seeds=1, interstitials={'C': 1})).seeds
    carbon = int(np.flatnonzero(seed.atoms.symbols == 'C')[0])
    distances = np.sort(np.delete(seed.atoms.get_distances(carbon, range(len(seed.atoms)), mic=True), carbon))
    a_A = seed.record['of']['a_A']
    octahedral = np.sum(np.abs(distances - a_A / 2) < 1e-3) == 6
    tetrahedral = np.sum(np.abs(distances - a_A * 3**0.5 / 4) < 1e-3) == 4
    assert octahedral or tetrahedral


def test_the_structure_is_repeated_before_defects_are_added(generate):
    host = {'kind': 'alloy', 'composition': {'Cu': 1.0}}
    (seed,) = generate(defect(host, n_seeds=1, vacancies={'Cu': 1}), cutoff_A=5.0).seeds
    assert len(seed.atoms) == 107


def test_defects_in_a_slab_of_an_alloy_do_not_change_fixed_atoms(generate):
    slab = {'kind': 'surface', 'of': {'kind': 'alloy', 'composition': {'Cu': 0.5, 'Au': 0.5}},
            'miller_indices': [[1, 1, 1]], 'fixed_layers': 2}  # fmt: skip
    seeds = generate(defect(slab, vacancies={'Cu': 0.3}, perturb={'rattle_A': 0.02}), cutoff_A=3.0).seeds
    for seed in seeds:
        assert seed.arrays()['fixed'].sum() == seed.record['of']['n_fixed']
        assert seed.record['of']['of']['kind'] == 'alloy'
        assert seed.atoms.cell[2, 2] - np.ptp(seed.atoms.positions[:, 2]) > 14


def test_a_charged_defect_must_be_allowed(generate):
    with refused(Code.STRUCTURE_INVALID, '-2 e') as caught:
        generate(defect(MGO, vacancies={'Mg': 1}))
    assert caught.value.rule == 'formal_charge'
    for seed in generate(defect(MGO, vacancies={'Mg': 1}, charged=True)).seeds:
        assert seed.record['formal_charge'] == -2
    assert generate(defect(MGO, vacancies={'Mg': 1, 'O': 1})).seeds[0].record['formal_charge'] == 0


def test_a_divacancy_of_ions_keeps_a_slab_neutral_and_its_vacuum_unchanged(generate):
    slab = {'kind': 'surface', 'of': {**MGO, 'supercell': None}, 'miller_indices': [[1, 0, 0]], 'n_layers': 4}
    seeds = generate(defect(slab, divacancies={'Mg-O': 1}, sites='distinct', n_seeds=None), cutoff_A=2.5).seeds
    # In two distinct layers; between layers 1 and 2 with either ion on top; between layers 2 and 3.
    assert len(seeds) == 5
    for seed in seeds:
        assert seed.record['formal_charge'] == seed.atoms.get_initial_charges().sum() == 0
        assert empty_layers(seed.atoms)[2] > 14.9
    with refused(Code.STRUCTURE_INVALID, '-2 e'):
        generate(defect(slab, vacancies={'Mg': 1}), cutoff_A=2.5)


def test_added_atoms_have_formal_charges(generate):
    seeds = generate(defect(MGO, substitutions={'Mg': {'Al': 2}}, vacancies={'Mg': 1})).seeds
    for seed in seeds:
        assert seed.record['formal_charge'] == 0
        assert set(seed.atoms.get_initial_charges()[seed.atoms.symbols == 'Al']) == {3}
    lithiated = defect(
        MGO, substitutions={'Mg': {'Li': 1}}, interstitials={'Li': 1}, validation={'like_charges': False}
    )
    assert generate(lithiated).seeds[0].record['formal_charge'] == 0


def test_oxidation_states_in_the_settings_override_those_of_the_host(generate):
    iron = {'kind': 'ionic', 'prototype': 'rocksalt', 'sites': {'A': 'Fe', 'X': 'O'}, 'supercell': [2, 2, 2]}
    oxidised = defect(iron, n_seeds=1, substitutions={'Fe': {'Fe': 2}}, vacancies={'Fe': 1}, oxidation_states={'Fe': 3})
    charges = generate(oxidised).seeds[0].atoms.get_initial_charges()
    assert (charges == 3).sum() == 2  # wüstite: two Fe3+ compensate a vacancy
    assert charges.sum() == 0


def test_antisites_exchange_charges(generate):
    (seed,) = generate(defect(GAAS, n_seeds=1, antisites={'Ga-As': 1}, validation={'like_charges': False})).seeds
    charges = seed.atoms.get_initial_charges()
    assert set(charges[seed.atoms.symbols == 'Ga']) == {3}
    assert set(charges[seed.atoms.symbols == 'As']) == {-3}


SLAB = {'kind': 'surface', 'of': {'kind': 'alloy', 'composition': {'Cu': 1.0}}, 'miller_indices': [[1, 1, 1]],
        'n_layers': 5}  # fmt: skip
CU3AU_CELL = {**CU3AU, 'supercell': None}
HCP = {'kind': 'alloy', 'composition': {'Ti': 1.0}, 'lattice': 'hcp'}
QUARTZ = {'kind': 'covalent', 'structure': 'quartz', 'sites': {'A': 'Si', 'X': 'O'}}
COVALENT_GAAS = {'kind': 'covalent', 'structure': 'zincblende', 'sites': {'A': 'Ga', 'X': 'As'}}


# Counted by hand. Cu3Au has one distinct site of each element, octahedra of Cu6 and of Cu4Au2, and one distinct
# tetrahedron. A slab of five layers has three distinct layers, with pairs in each and between them. hcp has pairs in
# and out of the basal plane. Quartz has two Si-O bond lengths.
@pytest.mark.parametrize(
    ('of', 'defects', 'count'),
    [
        (CU3AU_CELL, {'vacancies': {'Cu': 1}}, 1), (CU3AU_CELL, {'interstitials': {'C': 1}}, 3),
        (CU3AU_CELL, {'substitutions': {'Au': {'Ag': 1}}}, 1), (COVALENT_GAAS, {'antisites': {'Ga-As': 1}}, 1),
        (SLAB, {'vacancies': {'Cu': 1}}, 3), (SLAB, {'divacancies': {'Cu-Cu': 1}}, 5),
        ({**SLAB, 'fixed_layers': 3}, {'vacancies': {'Cu': 1}}, 2),
        (HCP, {'divacancies': {'Ti-Ti': 1}}, 2), (QUARTZ, {'divacancies': {'Si-O': 1}}, 2),
    ],
)  # fmt: skip
def test_each_distinct_site_gives_one_seed(generate, of, defects, count):
    entry = {'kind': 'defect', 'of': of, **defects, 'sites': 'distinct'}
    result = generate(entry, cutoff_A=3.5)
    assert len(result.seeds) == result.report['requested'] == count
    assert len({fingerprint(seed.atoms) for seed in result.seeds}) == count


def test_a_distinct_site_that_is_refused_does_not_affect_the_others(generate):
    copper = {'kind': 'alloy', 'composition': {'Cu': 1.0}, 'supercell': [3, 3, 3]}
    entry = {'kind': 'defect', 'of': copper, 'interstitials': {'Cu': 1}, 'sites': 'distinct'}
    result = generate(entry)
    (seed,) = result.seeds
    distances = np.sort(seed.atoms.get_distances(-1, range(len(seed.atoms) - 1), mic=True))
    assert distances[:7] == pytest.approx([1.805] * 6 + [distances[6]], abs=0.01)  # octahedral
    assert distances[6] > 3
    assert (result.report['made'], result.report['skipped']) == (1, 1)  # the tetrahedral one is too tight
    with refused(Code.STRUCTURE_INVALID, '(Cu)'):
        generate({**entry, 'validation': {'on_failure': 'fail'}})


def test_random_sites_find_all_distinct_sites(generate):
    entry = defect(SLAB, vacancies={'Cu': 1})
    distinct = generate({**entry, 'sites': 'distinct'}, cutoff_A=3.5).seeds
    found = generate({**entry, 'n_seeds': 6}, cutoff_A=3.5)
    assert {fingerprint(seed.atoms) for seed in found.seeds} == {fingerprint(seed.atoms) for seed in distinct}
    perfect = generate(SLAB, cutoff_A=3.5).seeds[0].atoms
    symmetry = spglib.get_symmetry((perfect.cell.array, perfect.get_scaled_positions(), perfect.numbers))
    assert len(distinct) == len(set(symmetry['equivalent_atoms']))


@pytest.mark.parametrize(
    ('fields', 'code', 'values'),
    [
        ({'vacancies': {'Cu': 2}}, Code.VALUE_INVALID, ['sites: distinct']),
        ({'vacancies': {'Cu': 1}, 'interstitials': {'C': 1}}, Code.VALUE_INVALID, ['sites: distinct']),
        ({'vacancies': {'Zn': 1}}, Code.SITE_MISSING, ['vacancies', 'Zn', 'AuCu3']),
        ({'vacancies': {'Cu': 1}, 'of': {'kind': 'alloy', 'composition': {'Cu': 0.5, 'Au': 0.5}}}, Code.HOST_UNSUITABLE,
         ['alloy', 'sites: random']),
    ],
)  # fmt: skip
def test_distinct_sites_need_exactly_one_defect_and_a_site_for_it(generate, fields, code, values):
    with refused(code, *values):
        generate({**defect(CU3AU_CELL), 'sites': 'distinct', **fields})


def test_more_vacancies_than_atoms_are_refused(generate):
    with refused(Code.TOO_MANY_DEFECTS, '200', 'Au27Cu81', ' 81', 'Cu '):
        generate(defect(CU3AU, vacancies={'Cu': 200}))


@pytest.mark.parametrize(
    ('fields', 'code', 'values'),
    [
        ({}, Code.VALUES_INCOMPLETE, ['vacancies', 'divacancies', 'interstitials']),
        ({'vacancies': {'Cu': 1.5}}, Code.VALUE_INVALID, ['vacancies.Cu']),
        ({'antisites': {'GaAs': 1}}, Code.WRONG_PATTERN, ['antisites', "'GaAs'", "'Ga-As'"]),
        ({'vacancies': {'Cuu': 1}}, Code.ELEMENT_UNKNOWN, ['vacancies', "'Cuu'"]),
    ],
)
def test_an_invalid_defect_is_refused(fields, code, values):
    with refused(code, *values):
        DefectSettings(of=CU3AU, **fields)


IRON = {'kind': 'alloy', 'composition': {'Fe': 1.0}, 'lattice': 'bcc', 'supercell': [3, 3, 3]}
COPPER = {'kind': 'alloy', 'composition': {'Cu': 1.0}, 'supercell': [3, 3, 3]}


def distances_from(atoms, point, number):
    return np.sort(get_distances(point, atoms.positions, atoms.cell, atoms.pbc)[1][0])[:number]


def test_carbon_in_bcc_iron_is_on_the_octahedral_site_and_on_the_tetrahedral_site(generate):
    # The octahedral site, 1.43 Å from two atoms of iron, is where carbon is in ferrite.
    entry = defect(
        IRON, n_seeds=None, interstitials={'C': 1}, sites='distinct', validation={'min_distance_factor': 0.5}
    )
    seeds = generate(entry).seeds
    a_A = seeds[0].record['of']['a_A']
    found = [distances_from(seed.atoms[:-1], seed.atoms.positions[-1], 6) for seed in seeds]
    assert found[0][:4] == pytest.approx([a_A * 5**0.5 / 4] * 4, abs=1e-6)
    assert found[1] == pytest.approx([a_A / 2] * 2 + [a_A / 2**0.5] * 4, abs=1e-6)
    assert len(seeds) == 2
    # Sites in a random alloy on the same lattice too.
    alloy = {**IRON, 'composition': {'Fe': 0.5, 'Cr': 0.5}}
    random = generate(defect(alloy, n_seeds=12, interstitials={'C': 1}, validation={'min_distance_factor': 0.5})).seeds
    nearest = {round(distances_from(seed.atoms[:-1], seed.atoms.positions[-1], 1)[0], 1) for seed in random}
    assert nearest == {1.4, 1.6}


@pytest.mark.parametrize(
    ('host', 'pair', 'families', 'count'),
    [
        (COPPER, 'Cu-Cu', [[1, 0, 0]], 109), (COPPER, 'Cu-Ni', [[1, 0, 0]], 109),
        (IRON, 'Fe-Fe', [[1, 1, 0], [1, 1, 1]], 55), (IRON, 'Fe-Cr', [[1, 1, 0], [1, 1, 1]], 55),
    ],
)  # fmt: skip
def test_a_dumbbell_is_along_its_direction_and_its_midpoint_is_the_lattice_site(generate, host, pair, families, count):
    seeds = generate(defect(host, n_seeds=None, dumbbells={pair: 1}, sites='distinct')).seeds
    perfect = generate(host).seeds[0].atoms
    assert [seed.record['dumbbells'][0]['direction'] for seed in seeds] == families
    for seed, family in zip(seeds, families, strict=True):
        atoms = seed.atoms
        assert len(atoms) == count
        assert atoms.symbols[-1] == pair.split('-')[1]
        moved = [i for i in range(len(perfect)) if np.linalg.norm(atoms.positions[i] - perfect.positions[i]) > 1e-6]
        assert len(moved) == 1
        vector = atoms.get_distance(-1, moved[0], mic=True, vector=True)
        assert np.linalg.norm(vector) == pytest.approx(seed.record['dumbbells'][0]['length_A'])
        assert np.linalg.norm(np.cross(np.sort(np.abs(vector))[::-1], family)) < 1e-6
        middle = atoms.positions[-1] + vector / 2
        assert np.allclose(middle, perfect.positions[moved[0]], atol=1e-9)
        # The distance in the dumbbell is the shortest one, or equal to it.
        shortest = atoms.get_all_distances(mic=True)[~np.eye(len(atoms), dtype=bool)].min()
        if pair in ('Cu-Cu', 'Fe-Fe'):
            assert np.linalg.norm(vector) == pytest.approx(shortest)


def test_random_dumbbells_take_all_equivalent_directions_of_an_alloy(generate):
    alloy = {**COPPER, 'composition': {'Cu': 0.5, 'Ni': 0.5}}
    seeds = generate(defect(alloy, n_seeds=12, dumbbells={'Cu-Ni': 2})).seeds
    for seed in seeds:
        assert seed.atoms.symbols.formula.count() == {'Cu': 54, 'Ni': 56}
        assert len(seed.record['dumbbells']) == 2
    positions = [seed.atoms.positions % (seed.atoms.cell[0, 0] / 6) for seed in seeds]
    moved = [set(np.flatnonzero((np.minimum(p, 3.6 / 2 - p) > 0.2).any(axis=0))) for p in positions]
    assert set.union(*moved) == {0, 1, 2}
    again = generate(defect(alloy, n_seeds=12, dumbbells={'Cu-Ni': 2})).seeds
    assert [seed.seed_id for seed in again] == [seed.seed_id for seed in seeds]


def test_a_mixed_dumbbell_without_a_mirror_is_made_in_both_orders(generate):
    wurtzite = {'kind': 'covalent', 'structure': 'zincblende', 'sites': {'A': 'Ga', 'X': 'As'}, 'supercell': [3, 3, 3]}
    fields = {'n_seeds': None, 'dumbbell_directions': [[1, 1, 1]], 'sites': 'distinct',
              'validation': {'min_distance_factor': 0.3}}  # fmt: skip
    # Along <111> the two ends of a site of zincblende differ.
    assert len(generate(defect(wurtzite, dumbbells={'Ga-Ga': 1}, **fields)).seeds) == 1
    assert len(generate(defect(wurtzite, dumbbells={'Ga-As': 1}, **fields)).seeds) == 2


def test_a_dumbbell_that_is_refused_does_not_affect_the_others(generate):
    entry = defect(IRON, n_seeds=None, dumbbells={'Fe-Fe': 1}, sites='distinct',
                   validation={'min_distance_factor': 0.66})  # fmt: skip
    result = generate(entry)
    assert [seed.record['dumbbells'][0]['direction'] for seed in result.seeds] == [[1, 1, 0]]
    assert (result.report['made'], result.report['skipped']) == (1, 1)


def removed_sites(perfect, atoms):
    distances = get_distances(perfect.positions, atoms.positions, perfect.cell, True)[1]
    return np.flatnonzero(distances.min(axis=1) > 0.1)


@pytest.mark.parametrize(
    ('host', 'cluster', 'neighbours'),
    [
        # The number of pairs of nearest neighbours: in fcc all pairs of two, three and four atoms; in bcc two of three.
        (COPPER, {'Cu': 2}, 1), (COPPER, {'Cu': 3}, 3), (COPPER, {'Cu': 4}, 6),
        (IRON, {'Fe': 2}, 1), (IRON, {'Fe': 3}, 2), (MGO, {'Mg': 2, 'O': 2}, 4),
    ],
)  # fmt: skip
@pytest.mark.parametrize('sites', ['random', 'distinct'])
def test_a_vacancy_cluster_is_compact(generate, host, cluster, neighbours, sites):
    n_seeds = 2 if sites == 'random' else None
    seeds = generate(defect(host, n_seeds=n_seeds, vacancy_clusters=[cluster], sites=sites)).seeds
    assert sites == 'random' or len(seeds) == 1
    perfect = generate(host).seeds[0].atoms
    for seed in seeds:
        removed = removed_sites(perfect, seed.atoms)
        assert perfect[removed].symbols.formula.count() == cluster
        distances = perfect.get_all_distances(mic=True)
        nearest = distances[0][distances[0] > 0].min()
        assert (np.triu(distances[np.ix_(removed, removed)], 1).round(3) == round(nearest, 3)).sum() == neighbours
        assert seed.record['vacancy_clusters'] == [cluster]


def test_distinct_clusters_differ_and_cover_all_orientations_of_hcp(generate):
    titanium = {'kind': 'alloy', 'composition': {'Ti': 1.0}, 'lattice': 'hcp'}
    # c/a is below the ideal value, so the pair between two layers is shorter than that in the plane.
    pair = generate(defect(titanium, n_seeds=None, vacancy_clusters=[{'Ti': 2}], sites='distinct'), cutoff_A=4).seeds
    assert len(pair) == 1
    slab = generate(defect({**SLAB}, n_seeds=None, vacancy_clusters=[{'Cu': 2}], sites='distinct'), cutoff_A=3.5).seeds
    assert len(slab) == len({fingerprint(seed.atoms) for seed in slab}) == 5  # as for divacancies


@pytest.mark.parametrize(
    ('fields', 'code', 'values'),
    [
        ({'vacancy_clusters': [{'Cu': 1}]}, Code.VALUE_INVALID, ['vacancy_clusters.0', 'vacancies']),
        (
            {'vacancies': {'Cu': 1}, 'dumbbell_length_A': 2.0},
            Code.VALUES_INCOMPLETE,
            ['dumbbell_length_A', 'dumbbells'],
        ),
        ({'dumbbells': {'Cu': 1}}, Code.WRONG_PATTERN, ['dumbbells', "'Cu'"]),
        ({'dumbbells': {'Cu-Cu': 1}, 'dumbbell_directions': [[0, 0, 0]]}, Code.VALUE_INVALID, ['0 0 0']),
    ],
)
def test_invalid_dumbbells_and_clusters_are_refused(fields, code, values):
    with refused(code, *values):
        DefectSettings(of=CU3AU, **fields)


def test_impossible_dumbbells_and_clusters_are_refused(generate):
    with refused(Code.HOST_UNSUITABLE, 'Cu20'):
        generate(defect({**SLAB, 'supercell': [2, 2]}, dumbbells={'Cu-Cu': 1}))
    polonium = {'kind': 'alloy', 'composition': {'Po': 1.0}, 'lattice': 'sc', 'n_atoms': 8}
    with refused(Code.VALUE_MISSING, 'dumbbell_directions', 'Po8'):
        generate(defect(polonium, dumbbells={'Po-Po': 1}))
    assert generate(defect(polonium, dumbbells={'Po-Po': 1}, dumbbell_directions=[[1, 0, 0]])).seeds
    with refused(Code.TOO_MANY_DEFECTS, '5 Po', 'Po4'):
        generate(defect({**polonium, 'n_atoms': 4}, vacancy_clusters=[{'Po': 5}]))
