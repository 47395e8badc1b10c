import numpy as np
import pytest
from ase.calculators.lj import LennardJones
from ase.calculators.morse import MorsePotential
from ase.data import covalent_radii

from aiida_mlip_autopipe.rounds.dimers import DimerCurve, Hole, evaluate_dimer, evaluate_dimers, find_new_holes

DISTANCES = np.linspace(1.0, 5.0, 96)


def morse(depth=2.0):
    x = np.exp(-1.5 * (DISTANCES - 2.5))
    return depth * (x**2 - 2 * x)


def test_a_repulsion_that_rises_has_no_hole():
    assert DimerCurve(DISTANCES, morse()).hole_depth_eV == 0.0


@pytest.mark.parametrize('depth', [0.3, 8.0, 60.0])
def test_the_depth_is_the_decrease_from_the_barrier_inwards(depth):
    energies = morse()
    turn = 20
    # Inside the turn, the energy falls linearly by the depth. The last case is lower than the minimum of the bond.
    energies[: turn + 1] = energies[turn] - depth * (1 - np.arange(turn + 1) / turn)
    assert DimerCurve(DISTANCES, energies).hole_depth_eV == pytest.approx(depth)


def test_two_atoms_that_do_not_repel_have_a_hole_as_deep_as_the_fall():
    assert DimerCurve(DISTANCES, -3.0 / DISTANCES).hole_depth_eV == pytest.approx(3.0 - 0.6)


def test_two_atoms_that_only_repel_are_followed_from_the_largest_distance():
    energies = 10 * np.exp(-DISTANCES)
    assert DimerCurve(DISTANCES, energies).hole_depth_eV == 0.0
    energies[:5] = energies[5] - 1.0
    assert DimerCurve(DISTANCES, energies).hole_depth_eV == pytest.approx(1.0)


def test_a_shallow_bump_at_a_large_distance_is_not_a_bond():
    energies = morse()
    energies[85] -= 0.02
    assert DimerCurve(DISTANCES, energies).hole_depth_eV == pytest.approx(0.0, abs=1e-12)


def test_energies_that_are_not_finite_count_as_a_hole():
    energies = morse()
    energies[0] = np.nan
    assert DimerCurve(DISTANCES, energies).hole_depth_eV == np.inf


def test_the_distances_follow_from_the_covalent_radii():
    curve = evaluate_dimer(LennardJones(sigma=2.0, epsilon=0.1, rc=10.0), ('Ar', 'Ar'))
    radius = covalent_radii[18]
    assert curve.distances_A[[0, -1]] == pytest.approx([1.2 * radius, 5.0 * radius])
    assert curve.hole_depth_eV == 0.0
    assert curve.energies_eV.min() == pytest.approx(-0.1, rel=0.02)


def test_each_pair_of_elements_is_evaluated_once():
    assert list(evaluate_dimers(MorsePotential(), ['Cu', 'Au', 'Cu'])) == ['Au-Au', 'Au-Cu', 'Cu-Cu']


def test_only_holes_that_are_deeper_than_those_of_the_starting_model_are_found():
    def with_hole(depth):
        energies = morse()
        energies[:10] = energies[10] - depth
        return DimerCurve(DISTANCES, energies)

    starting = {'Al-Al': with_hole(0.0), 'Al-Cu': with_hole(1.0), 'Cu-Cu': with_hole(1.0)}
    new = {'Al-Al': with_hole(0.5), 'Al-Cu': with_hole(1.02), 'Cu-Cu': with_hole(3.0)}
    first, second = find_new_holes(new, starting)
    assert (first.pair, second.pair) == ('Al-Al', 'Cu-Cu')
    assert second == Hole('Cu-Cu', pytest.approx(3.0), pytest.approx(1.0))
