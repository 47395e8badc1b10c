"""Frames are new if their environments are far from those of the seed and of the stored frames."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from aiida_mlip_autopipe.descriptors.soap.settings import SoapSettings, describe_environments

SOAP = {'n_max': 4, 'l_max': 3}
RUN = {'ensemble': 'nvt', 'temperature_K': 900, 'n_steps': 60}


@pytest.fixture
def every(job_folder, alloy):
    """The frames of a run without novelty."""
    folder = job_folder('every').write(alloy, RUN)
    folder.run()
    return folder.frames()


@pytest.fixture
def environments(every, alloy):
    """The environments of the seed and of each frame."""
    structures = [alloy.copy() for _ in range(len(every) + 1)]
    for atoms, positions, cell in zip(structures[1:], every.positions, every.cells, strict=True):
        atoms.set_cell(cell)
        atoms.positions = positions
    return list(describe_environments(structures, [29, 79], SoapSettings.model_validate(SOAP)))


def distances_of(described, known, numbers):
    """Return the distance of each atom's environment from the nearest known one of the same element."""
    known_environments, known_numbers = known
    distances = cdist(described, known_environments)
    distances[numbers[:, np.newaxis] != known_numbers] = np.inf
    return distances.min(axis=1)


def test_frames_are_kept_if_an_environment_is_far_from_those_of_the_seed_and_of_the_kept_frames(
    job_folder, alloy, every, environments
):
    numbers = alloy.numbers
    known = environments[0], numbers
    threshold = 0.5 * float(np.median([distances_of(one, known, numbers).max() for one in environments[1:]]))
    steps, values = [], []
    for step, described in zip(every.steps, environments[1:], strict=True):
        distances = distances_of(described, known, numbers)
        new = distances > threshold
        if new.any():
            steps.append(step)
            values.append(distances.max())
            known = np.concatenate([known[0], described[new]]), np.concatenate([known[1], numbers[new]])
    assert 3 < len(steps) < len(every) - 3
    novelty = {'kind': 'distance', 'threshold': threshold, 'descriptor': SOAP}
    folder = job_folder('new').write(alloy, RUN | {'novelty': novelty})
    result, frames = folder.run(), folder.frames()
    np.testing.assert_array_equal(frames.steps, steps)
    np.testing.assert_allclose(frames.extra['environment_distance'], values, rtol=1e-6)
    np.testing.assert_array_equal(frames.positions, every.positions[np.isin(every.steps, steps)])
    assert (result.statistics['novelty']['n'], result.statistics['novelty']['n_new']) == (len(every), len(steps))


def test_a_run_ends_at_the_limit_of_the_distance(job_folder, alloy, every, environments):
    first = distances_of(environments[1], (environments[0], alloy.numbers), alloy.numbers).max()
    novelty = {'kind': 'distance', 'threshold': 0.5 * first, 'limit': 0.9 * first, 'descriptor': SOAP}
    result = job_folder('limited').write(alloy, RUN | {'novelty': novelty}).run()
    assert (result.outcome, result.last_step, result.n_frames) == ('completed', 2, 0)
    assert [(event.rule, event.step) for event in result.events] == [('novelty', 2)]
