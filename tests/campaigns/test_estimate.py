"""The estimate of a dry run."""

import pytest

from aiida_mlip_autopipe.campaigns.estimate import estimate_campaign, plan_campaign

PHASES = [{'n_steps': 8}, {'n_steps': 9, 'sampled': False}, {'n_steps': 8}]


@pytest.mark.parametrize(
    ('exploration', 'n_frames'),
    [
        ({'n_steps': 20, 'frame_interval': 3, 'n_equilibration_steps': 10}, 3),
        ({'n_steps': 20, 'frame_interval': 3, 'phases': PHASES}, 2 + 3),
    ],
)
def test_the_estimate_counts_the_seeds_frames_and_force_calls_of_the_config(campaign_config, exploration, n_frames):
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


def test_all_codes_are_assumed_to_explore_the_same_number_of_seeds(campaign_config):
    def wall_s(*kinds):
        codes = [{'code': f'{kind}@localhost', 'calculator': {'kind': kind}} for kind in kinds]
        return estimate_campaign(campaign_config(execution={'codes': codes}), concurrent_jobs=2).wall_s

    assert wall_s('emt', 'lj') == pytest.approx((wall_s('emt') + wall_s('lj')) / 2)
    assert wall_s('emt') != wall_s('lj')


def test_the_time_is_unknown_if_the_speed_of_a_calculator_is_unknown(campaign_config):
    calculator = {'kind': 'custom', 'calculator': 'ase.calculators.emt:EMT', 'cutoff_A': 6.6}
    codes = [{'code': 'emt@localhost'}, {'code': 'other@localhost', 'calculator': calculator}]
    assert estimate_campaign(campaign_config(execution={'codes': codes}), concurrent_jobs=2).wall_s is None


def test_a_plan_has_the_codes_and_the_estimate(campaign_config, emt_code):
    config = campaign_config(execution={'max_concurrent_jobs': 3})
    plan = plan_campaign(config)
    assert (plan.codes, plan.concurrent_jobs) == ((emt_code.full_label,), 3)
    assert (plan.n_structures, plan.reaches_coverage) == (config.sampling.n_structures, False)
    assert plan.estimate == estimate_campaign(config, concurrent_jobs=3)
    assert plan.warnings == ()
    # Each of the three seeds has a third of the frames.
    (warning,) = plan_campaign(campaign_config(sampling={'test_fraction': 0.1})).warnings
    assert ' test ' in warning


def test_frames_that_are_always_selected_are_counted_separately(campaign_config):
    first = {'kind': 'alloy', 'composition': {'Cu': 1.0}, 'n_seeds': 1}
    config = campaign_config(
        generation=[first, {'kind': 'atom'}, {'kind': 'dimer', 'n_points': 5}],
        exploration={'n_steps': 20, 'frame_interval': 5},
    )
    estimate = estimate_campaign(config, concurrent_jobs=2)
    assert (estimate.n_frames, estimate.n_always_selected) == (4 + 1 + 5, 1 + 5)
