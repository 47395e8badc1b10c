"""The predicted numbers of frames and force calls, compared with real runs."""

from __future__ import annotations

import pytest

from aiida_mlip_autopipe.exploration.settings.dynamics import ExplorationSettings

# The names describe what is special about a run.
RUNS = {
    'a hold': {'n_steps': 20, 'frame_interval': 2},
    'an interval that does not divide the steps': {'n_steps': 20, 'frame_interval': 7},
    'an interval longer than the run': {'n_steps': 5, 'frame_interval': 7},
    'equilibration': {'n_steps': 20, 'frame_interval': 3, 'n_equilibration_steps': 9},
    'equilibration between frames': {'n_steps': 20, 'frame_interval': 3, 'n_equilibration_steps': 10},
    'phases': {'frame_interval': 3, 'phases': [{'n_steps': 7}, {'n_steps': 4, 'kind': 'ramp', 'temperature_K': 500}]},
    'a phase that is not sampled': {
        'frame_interval': 3,
        'phases': [{'n_steps': 7}, {'n_steps': 8, 'sampled': False}, {'n_steps': 7}],
    },
    'a first phase that is not sampled': {
        'frame_interval': 4,
        'phases': [{'n_steps': 8, 'sampled': False}, {'n_steps': 9, 'kind': 'velocity_reset', 'temperature_K': 200}],
    },
    'equilibration longer than the first phase': {
        'frame_interval': 2,
        'n_equilibration_steps': 9,
        'phases': [{'n_steps': 6}, {'n_steps': 8}],
    },
    'phases that end before a frame is due': {'frame_interval': 5, 'phases': [{'n_steps': 2}] * 6},
}


@pytest.mark.parametrize('exploration', RUNS.values(), ids=RUNS)
def test_a_run_stores_the_predicted_frames_and_makes_the_predicted_calls(job_folder, copper, exploration):
    settings = ExplorationSettings(**exploration)
    job = job_folder().write(copper, {'ensemble': 'nvt', **exploration})
    result = job.run()
    assert result.outcome == 'completed'
    predicted = [step for steps in settings.frame_steps for step in steps]
    stored = job.frames().steps.tolist() if result.n_frames else []
    assert stored == predicted
    assert result.n_frames == settings.n_frames == len(predicted)
    assert result.force_calls == settings.n_force_calls


def test_frames_that_hardly_differ_are_not_stored(job_folder, copper):
    exploration = {'n_steps': 20, 'frame_interval': 1, 'frame_min_change_A': 0.05}
    job = job_folder().write(copper, exploration)
    n_frames = job.run().n_frames
    assert 0 < n_frames < ExplorationSettings(**exploration).n_frames


def test_predicted_calls_include_monte_carlo_and_relaxation(job_folder, copper):
    moves = {'moves': [{'kind': 'displacement', 'max_displacement_A': 0.01}], 'n_md_steps': 3, 'n_trials': 4}
    exploration = {'n_steps': 10, 'ensemble': 'nvt', 'monte_carlo': moves}
    job = job_folder('moves').write(copper, exploration)
    # Three rounds of four trials, one call for the seed, and one for each step.
    assert job.run().force_calls == ExplorationSettings(**exploration).n_force_calls == 1 + 10 + 3 * 4

    copper.rattle(0.1, seed=1)
    relaxed = exploration | {'relaxation': {'max_steps': 2, 'force_eV_per_A': 1e-9}}
    job = job_folder('relaxed').write(copper, relaxed)
    assert 23 < job.run().force_calls <= ExplorationSettings(**relaxed).n_force_calls
