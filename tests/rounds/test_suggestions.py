import numpy as np
import pytest
from support.round_reports import make_report

from aiida_mlip_autopipe.rounds.conformal import conformal_quantile
from aiida_mlip_autopipe.rounds.suggestions import MIN_GROUPS_OF_BOUNDS, KindError, suggest

TARGET = 0.05


def rules(*reports, **kinds):
    return [one.rule for one in suggest(reports, TARGET, kinds)]


def test_nothing_is_suggested_before_the_first_report_and_after_the_target_is_reached():
    assert rules() == []
    assert rules(make_report(reason='target_reached', failures=('stable_dynamics',), pooled=None)) == []


def test_a_kind_with_a_much_larger_error_needs_more_seeds():
    alloys, surfaces = KindError(0.1, 300, 5), KindError(0.2, 300, 5)
    (found,) = suggest([make_report()], TARGET, {'alloy': alloys, 'slab': surfaces})
    assert found.rule == 'seeds_of_kind'
    assert 'slab' in found.message


@pytest.mark.parametrize(
    'error',
    [KindError(0.12, 300, 5), KindError(0.2, 300, 2)],
    ids=['slightly larger', 'too few groups'],
)
def test_a_kind_with_a_similar_or_unreliable_error_needs_no_more_seeds(error):
    assert rules(make_report(), alloy=KindError(0.1, 300, 5), slab=error) == []


def test_a_kind_with_an_error_below_the_target_needs_no_more_seeds():
    assert rules(make_report(), alloy=KindError(0.01, 300, 5), slab=KindError(0.04, 300, 5)) == []


def test_the_errors_of_the_other_kinds_are_weighted_by_their_force_components():
    # Together, the two others have an error of 0.15, which is less than a factor of 1.5 below the largest.
    others = {'alloy': KindError(0.01, 1, 5), 'cluster': KindError(0.15, 999, 5)}
    assert rules(make_report(), **others, slab=KindError(0.2, 300, 5)) == []
    reverse = {'alloy': KindError(0.01, 999, 5), 'cluster': KindError(0.15, 1, 5)}
    assert rules(make_report(), **reverse, slab=KindError(0.2, 300, 5)) == ['seeds_of_kind']


def test_infinite_bounds_need_more_groups():
    assert rules(make_report(pooled=None)) == ['more_groups']
    for n_groups in (MIN_GROUPS_OF_BOUNDS - 1, MIN_GROUPS_OF_BOUNDS):
        quantile = conformal_quantile(np.ones(n_groups), [str(number) for number in range(n_groups)])
        assert np.isfinite(quantile) == (n_groups == MIN_GROUPS_OF_BOUNDS)


@pytest.mark.parametrize(
    ('condition', 'rule'), [('other_chemistries', 'more_replay'), ('stable_dynamics', 'hot_frames')]
)
def test_the_condition_that_the_last_model_does_not_meet_decides_what_to_change(condition, rule):
    assert rules(make_report(failures=(condition,))) == [rule]
    assert rules(make_report(failures=(condition,)), make_report(2)) == []
    assert rules(make_report(failures=('smaller_error',))) == []


def test_a_drift_that_is_not_finite_can_be_reported():
    assert rules(make_report(failures=('other_chemistries',), drift_eV_A=None)) == ['more_replay']


def test_a_campaign_that_ran_out_of_labels_needs_more_and_one_on_a_plateau_does_not():
    first = make_report(estimate=True)
    (found,) = suggest([first, make_report(2, reason='budget_spent')], TARGET)
    assert found.rule == 'more_labels'
    assert '321' in found.message
    assert rules(first, make_report(2, reason='plateau')) == ['longer_training']
    assert rules(make_report(), make_report(2, reason='maximum_rounds')) == []


def test_a_round_without_a_judgement_or_bounds_suggests_nothing():
    assert rules(make_report() | {'judgement': None, 'bounds': None}) == []
