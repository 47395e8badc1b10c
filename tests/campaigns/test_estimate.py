"""What a dry run tells before anything is started."""

import pytest

from aiida_mlip_autopipe.campaigns.estimate import estimate_campaign

STAGES = [{'n_steps': 8}, {'n_steps': 9, 'sampled': False}, {'n_steps': 8}]


@pytest.mark.parametrize(
    ('exploration', 'n_frames'),
    [
        ({'n_steps': 20, 'frame_interval': 3, 'n_equilibration_steps': 10}, 3),
        ({'n_steps': 20, 'frame_interval': 3, 'stages': STAGES}, 2 + 3),
    ],
)
def test_seeds_frames_and_calls_are_those_of_the_config(campaign_config, exploration, n_frames):
    config = campaign_config(exploration=exploration)
    estimate = estimate_campaign(config, concurrent_jobs=2)
    assert estimate.n_seeds == config.n_seeds == 3
    assert estimate.n_frames == config.n_frames == 3 * n_frames
    assert estimate.force_calls == 3 * (1 + config.exploration.total_steps)
    assert estimate.n_jobs == 3


def test_a_committee_adds_a_job_for_each_seed_and_a_call_for_each_frame(campaign_config):
    second = {'calculator': {'kind': 'lj'}}
    config = campaign_config(exploration={'n_steps': 20, 'frame_interval': 3, 'committee': second})
    estimate = estimate_campaign(config, concurrent_jobs=2)
    assert estimate.n_jobs == 6
    assert estimate.force_calls == 3 * (1 + 20) + 3 * 6
