"""Step sizes adapt to a target acceptance while no frames are stored, and only then."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from support.model_systems import KT, Tethers, make, make_system

from aiida_mlip_autopipe.exploration.checkpoint import Checkpoint
from aiida_mlip_autopipe.exploration.montecarlo.base import TARGET_ACCEPTANCE
from aiida_mlip_autopipe.exploration.montecarlo.settings import MonteCarloSettings
from aiida_mlip_autopipe.exploration.montecarlo.trials import MonteCarlo
from aiida_mlip_autopipe.exploration.settings.kinds import read_exploration
from aiida_mlip_autopipe.jobs.contract import CHECKPOINT_FILE

DISPLACEMENT = {'moves': [{'kind': 'displacement'}], 'n_md_steps': 2, 'n_trials': 4, 'adapt': True}


@pytest.mark.physics
@pytest.mark.parametrize('start_A', [0.01, 5.0])
def test_the_step_size_approaches_the_target_acceptance_and_then_stays_the_same(start_A):
    rng = np.random.default_rng(1)
    anchors = np.array([[0.0, 0.0, 0.0], [20.0, 0.0, 0.0]])
    free = np.array([True, False])
    system = make_system(anchors, 40 * np.eye(3), [20.0, 20.0], free, rng)
    integrator = make('langevin', system, Tethers(anchors, [4.0, 4.0]), 2.0, rng)
    move = {'kind': 'displacement', 'max_displacement_A': start_A}
    settings = MonteCarloSettings(moves=[move], n_trials=1, adapt=True)
    monte_carlo = MonteCarlo(settings, Atoms('Cu2', anchors), free, 'nvt', None)
    for _ in range(2000):
        monte_carlo.run_round(integrator, equilibrating=True)
    adapted = monte_carlo.summary()[0]['max_displacement_A']
    assert 0.5 < adapted / np.sqrt(KT / 4.0) < 5  # in units of the amplitude of the vibration
    n_tried, n_accepted = monte_carlo.moves[0].n_tried, monte_carlo.moves[0].n_accepted
    for _ in range(4000):
        monte_carlo.run_round(integrator)
    rate = (monte_carlo.moves[0].n_accepted - n_accepted) / (monte_carlo.moves[0].n_tried - n_tried)
    # The gain is 0.02 at the end, so that ln s fluctuates by about 0.1 and the rate by about 0.03.
    assert rate == pytest.approx(TARGET_ACCEPTANCE, abs=0.12)
    assert monte_carlo.summary()[0]['max_displacement_A'] == adapted


@pytest.mark.parametrize(
    ('settings', 'n_adapted'),
    [
        ({'n_steps': 12, 'n_equilibration_steps': 5}, 2 * 4),
        ({'n_steps': 12, 'n_equilibration_steps': 6}, 3 * 4),
        ({'phases': [{'n_steps': 4}, {'n_steps': 4, 'sampled': False}, {'n_steps': 4}]}, 2 * 4),
    ],
)
def test_step_sizes_change_only_at_steps_without_frames(job_folder, copper, settings, n_adapted):
    folder = job_folder().write(copper, {'ensemble': 'nvt', 'monte_carlo': DISPLACEMENT, **settings})
    statistics = folder.run().statistics['moves'][0]
    (stored,) = Checkpoint.read(folder.path / CHECKPOINT_FILE).counters['moves']
    assert (stored['tried'], stored['adapted']) == (6 * 4, n_adapted)
    assert statistics['max_displacement_A'] == 0.1 * stored['scale'] != 0.1


def test_a_run_that_was_interrupted_while_its_step_sizes_change_continues_exactly(
    job_folder, copper, same_frames, stopping_after
):
    settings = {'ensemble': 'nvt', 'n_steps': 16, 'n_equilibration_steps': 10, 'monte_carlo': DISPLACEMENT}
    uninterrupted = job_folder('uninterrupted').write(copper, settings)
    cut = job_folder('cut').write(copper, settings)
    expected = uninterrupted.run().statistics['moves']
    with stopping_after(5):
        assert cut.run().last_step == 5
    assert cut.run().statistics['moves'] == expected
    same_frames(cut.frames(), uninterrupted.frames())


def test_settings_without_adaptation_are_stored_as_before():
    settings = read_exploration({'monte_carlo': {'moves': [{'kind': 'displacement'}]}})
    assert set(settings.model_dump(mode='json')['monte_carlo']) == {'moves', 'n_md_steps', 'n_trials'}
    changed = {'n_equilibration_steps': 10, 'monte_carlo': DISPLACEMENT}
    assert read_exploration(changed).model_dump(mode='json')['monte_carlo']['adapt'] is True
