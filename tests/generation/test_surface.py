from __future__ import annotations

import numpy as np
import pytest
from ase.build import fcc100, fcc111
from pydantic import ValidationError

from aiida_mlip_autopipe.errors import AutopipeError, PhysicsViolationError
from aiida_mlip_autopipe.generation.surface import SurfaceSettings, is_polar, layers

COPPER = {'kind': 'alloy', 'composition': {'Cu': 1.0}}
MAGNESIA = {'kind': 'ionic', 'prototype': 'rocksalt', 'sites': {'A': 'Mg', 'X': 'O'}}


def surface(of: dict, **fields) -> dict:
    return {'kind': 'surface', 'of': of, **fields}


def by_plane(seeds) -> dict[tuple[int, ...], int]:
    counts: dict[tuple[int, ...], int] = {}
    for seed in seeds:
        counts[tuple(seed.record['miller'])] = counts.get(tuple(seed.record['miller']), 0) + 1
    return counts


def test_all_distinct_planes_are_cut(generate):
    assert by_plane(generate(surface(COPPER)).seeds) == {(1, 0, 0): 1, (1, 1, 0): 1, (1, 1, 1): 1}
    planes = by_plane(generate(surface(COPPER, max_miller=2, thickness_A=4)).seeds)
    assert set(planes) == {(1, 0, 0), (1, 1, 0), (1, 1, 1), (2, 1, 0), (2, 1, 1), (2, 2, 1)}


@pytest.mark.parametrize(('plane', 'build'), [((1, 1, 1), fcc111), ((1, 0, 0), fcc100)])
def test_a_slab_is_that_of_an_independent_builder(generate, plane, build):
    n_planes = 4 if plane == (1, 1, 1) else 2
    (seed,) = generate(surface(COPPER, miller_indices=[plane], n_planes=n_planes, vacuum_A=12)).seeds
    reference = build('Cu', (1, 1, 4), a=3.61, vacuum=6)
    area = np.linalg.norm(np.cross(*seed.atoms.cell.array[:2])) / len(seed.atoms)
    assert area == pytest.approx(np.linalg.norm(np.cross(*reference.cell.array[:2])) / len(reference))
    assert np.ptp(seed.atoms.positions[:, 2]) == pytest.approx(np.ptp(reference.positions[:, 2]))
    assert seed.atoms.cell.cellpar() == pytest.approx(reference.cell.cellpar())
    # A surface atom has nine (111) or eight (100) neighbours.
    big = seed.atoms.repeat((4, 4, 1))
    distances = big.get_all_distances(mic=True)[int(np.argmax(big.positions[:, 2]))]
    assert np.sum((distances > 0.1) & (distances < 2.7)) == (9 if plane == (1, 1, 1) else 8)


def test_the_vacuum_is_as_thick_as_asked_for_and_empty(generate):
    for seed in generate(surface(COPPER, vacuum_A=12.0)).seeds:
        assert seed.atoms.cell[2, 2] - np.ptp(seed.atoms.positions[:, 2]) == pytest.approx(12.0)
        assert seed.atoms.pbc.all()


def test_polar_terminations_are_recognised_and_left_out(generate):
    assert set(by_plane(generate(surface(MAGNESIA)).seeds)) == {(1, 0, 0), (1, 1, 0)}
    with pytest.raises(AutopipeError, match=r'every termination of 1 1 1 is polar; set polar: allow'):
        generate(surface(MAGNESIA, miller_indices=[[1, 1, 1]]))
    allowed = generate(surface(MAGNESIA, polar='allow')).seeds
    assert [seed.record['polar'] for seed in allowed] == [False, False, True]


def test_polarity_is_judged_before_rattling(generate):
    entry = surface(MAGNESIA, miller_indices=[[1, 0, 0]], perturb={'rattle_A': 0.1})
    (seed,) = generate(entry).seeds
    assert is_polar(seed.atoms)
    assert not seed.record['polar']


def test_all_terminations_are_made_and_their_stoichiometry_recorded(generate):
    titanate = {'kind': 'ionic', 'prototype': 'perovskite', 'sites': {'A': 'Sr', 'B': 'Ti', 'X': 'O'}}
    entry = surface(titanate, miller_indices=[[1, 0, 0]], polar='allow')
    (stoichiometric,) = generate(entry).seeds  # SrO on one face, TiO2 on the other
    assert stoichiometric.record['stoichiometric']
    assert not stoichiometric.record['symmetric']
    symmetric = generate({**entry, 'keep': 'symmetric'}).seeds
    faces = set()
    for seed in symmetric:
        assert seed.record['symmetric']
        assert not seed.record['stoichiometric']
        numbers = layers(seed.atoms)
        top = ''.join(sorted(set(seed.atoms.symbols[numbers == numbers.max()])))
        assert top == ''.join(sorted(set(seed.atoms.symbols[numbers == 0])))
        faces.add(top)
    assert faces == {'OSr', 'OTi'}


def test_fluorite_111_ends_between_two_anion_layers(generate):
    calcia = {'kind': 'ionic', 'prototype': 'fluorite', 'sites': {'A': 'Ca', 'X': 'F'}}
    (seed,) = generate(surface(calcia, miller_indices=[[1, 1, 1]])).seeds
    numbers = layers(seed.atoms)
    assert set(seed.atoms.symbols[numbers == 0]) == set(seed.atoms.symbols[numbers == numbers.max()]) == {'F'}
    assert seed.atoms.get_initial_charges().sum() == 0


def test_bottom_layers_are_fixed_and_survive_perturbation(generate):
    entry = surface(COPPER, miller_indices=[[1, 1, 1]], fixed_layers=2, perturb={'rattle_A': 0.05})
    (seed,) = generate(entry, cutoff_A=3.0).seeds
    fixed = seed.arrays()['fixed']
    assert fixed.sum() == seed.record['n_fixed'] == 2 * len(seed.atoms) // 5
    assert seed.atoms.positions[fixed, 2].max() < seed.atoms.positions[~fixed, 2].min()
    assert np.ptp(seed.atoms.positions[fixed][:, 2].round(6)) < 2.2


def test_more_fixed_layers_than_there_are_are_refused(generate):
    with pytest.raises(AutopipeError, match='would fix all 5 layers of the slab; at most 4 can be'):
        generate(surface(COPPER, miller_indices=[[1, 1, 1]], fixed_layers=5))


def test_the_slab_of_a_solid_solution_is_filled_after_it_was_repeated(generate):
    alloy = {'kind': 'alloy', 'composition': {'Cu': 0.75, 'Au': 0.25}}
    seeds = generate(surface(alloy, miller_indices=[[1, 1, 1]], n_seeds=3), cutoff_A=5.0).seeds
    for seed in seeds:
        assert seed.atoms.cell.lengths()[:2] == pytest.approx(seed.atoms.cell.lengths()[0])
        assert min(seed.atoms.cell.lengths()) > 10
        assert np.mean(seed.atoms.symbols == 'Cu') == pytest.approx(0.75, abs=0.02)
    assert len({seed.seed_id for seed in seeds}) == 3


def test_strain_leaves_the_vacuum(generate):
    (seed,) = generate(surface(COPPER, miller_indices=[[1, 0, 0]], perturb={'anisotropic_strain': 0.1})).seeds
    assert seed.atoms.cell[2, 2] - np.ptp(seed.atoms.positions[:, 2]) == pytest.approx(15.0)


def test_the_plane_000_is_refused():
    with pytest.raises(ValidationError, match='the Miller index 0 0 0 is no plane'):
        SurfaceSettings(of=COPPER, miller_indices=[[0, 0, 0]])


def test_a_molecule_has_no_surface(generate, tmp_path):
    from ase.build import molecule

    molecule('CH4').write(tmp_path / 'methane.xyz')
    with pytest.raises(AutopipeError, match='is not periodic in three directions'):
        generate(surface({'kind': 'structures', 'files': [str(tmp_path / 'methane.xyz')]}))


def test_mixed_ionic_crystals_are_not_cut(generate):
    mixed = {'kind': 'ionic', 'prototype': 'rocksalt', 'sites': {'A': {'Mg': 0.5, 'Ni': 0.5}, 'X': 'O'}}
    with pytest.raises(AutopipeError, match='cut from a pure ionic crystal'):
        generate(surface(mixed))


def test_a_slab_too_small_for_the_calculator_says_so(generate):
    entry = surface(COPPER, miller_indices=[[1, 1, 1]], validation={'max_atoms': 20})
    with pytest.raises(PhysicsViolationError, match='height of'):
        generate(entry, cutoff_A=5.0)
