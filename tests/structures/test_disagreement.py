"""The disagreement between two calculators, with numbers that can be checked by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aiida_mlip_autopipe.structures.disagreement import ENERGY, LARGEST, MEAN, MEASURES, RELATIVE, compare_labels
from aiida_mlip_autopipe.structures.trajectory import Trajectory


def frames(forces, energies, steps=None):
    forces = np.array(forces, dtype=float)
    n_frames, n_atoms = forces.shape[:2]
    return Trajectory(
        seed_id='seed',
        numbers=np.full(n_atoms, 29),
        pbc=np.array([True] * 3),
        steps=np.arange(n_frames) if steps is None else np.array(steps),
        positions=np.zeros((n_frames, n_atoms, 3)),
        cells=np.tile(np.eye(3), (n_frames, 1, 1)),
        energies=np.array(energies, dtype=float),
        forces=forces,
        stresses=np.full((n_frames, 6), np.nan),
        temperatures=np.full(n_frames, 300.0),
    )


def test_the_measures_follow_their_definition():
    first = frames([[[3, 0, 0], [0, 0, 1]]], [-4.0])
    second = frames([[[0, 4, 0], [0, 0, 0]]], [-3.0])
    measures = compare_labels(first, second)
    assert measures[LARGEST] == pytest.approx([5.0])
    assert measures[MEAN] == pytest.approx([3.0])
    # |F| are 3 and 1, and |F'| are 4 and 0, so their mean norms sum to 4.
    assert measures[RELATIVE] == pytest.approx([6.0 / 4.0])
    assert measures[ENERGY] == pytest.approx([0.5])


def test_equal_labels_have_no_disagreement_even_if_all_forces_are_zero():
    same = frames([[[1, 2, 3]], [[0, 0, 0]]], [1.0, 1.0])
    measures = compare_labels(same, same)
    assert all((measures[name] == 0).all() for name in MEASURES)


def test_opposite_forces_have_a_relative_disagreement_of_two():
    first = frames([[[1, 2, 3], [4, 5, 6]]], [0.0])
    measures = compare_labels(first, replace(first, forces=-first.forces))
    assert measures[RELATIVE] == pytest.approx([2.0])


def test_measures_are_nan_for_frames_that_the_second_trajectory_lacks():
    first = frames([[[1, 0, 0]], [[2, 0, 0]], [[3, 0, 0]]], [0, 0, 0], steps=[10, 20, 30])
    second = frames([[[3, 0, 1]], [[np.nan] * 3]], [0, np.nan], steps=[30, 10])
    measures = compare_labels(first, second)
    assert measures[LARGEST].tolist()[2] == 1.0
    assert all(np.isnan(measures[name][:2]).all() for name in MEASURES)
