import pytest

from aiida_mlip_autopipe.rounds.held_out import Estimate
from aiida_mlip_autopipe.rounds.stopping import RoundErrors, Targets, decide

TARGETS = Targets(force_error_eV_A=0.1, label_budget=200, maximum_rounds=6, labels_per_round=40)
FAR = Estimate(0.2, 0.25)
NEAR = Estimate(0.08, 0.09)
LARGE, SMALL, UNCERTAIN = Estimate(0.2, 0.3), Estimate(0.02, 0.06), Estimate(0.02, 0.15)


def one(n_labels=40, error=FAR, bounded=0.5, gain=LARGE, accepted=True, **further):
    return RoundErrors(n_labels, error, bounded, gain, accepted, **further)


def reason(*history, targets=TARGETS):
    return decide(history, targets).reason


def test_another_round_follows_while_the_error_falls():
    assert reason(one()) is None
    assert reason(one(), one(80)) is None


def test_the_target_must_be_reached_in_two_rounds():
    assert reason(one(error=NEAR, bounded=1.0)) is None
    assert reason(one(), one(80, NEAR, 1.0)) is None
    assert reason(one(40, NEAR, 1.0), one(80, NEAR, 0.95)) == 'target_reached'


def test_the_upper_limit_counts_and_not_the_error():
    assert reason(one(40, Estimate(0.09, 0.11), 1.0), one(80, Estimate(0.09, 0.11), 1.0)) is None


def test_the_target_is_not_reached_while_many_frames_have_larger_bounds():
    assert reason(one(40, NEAR, 0.9), one(80, NEAR, 0.94)) is None


def test_further_targets_must_be_reached_too():
    targets = Targets(0.1, 200, 6, 40, {'stress_GPa': 0.5})
    good = {'further_errors': {'stress_GPa': Estimate(0.3, 0.4)}}
    bad = {'further_errors': {'stress_GPa': Estimate(0.4, 0.6)}}
    assert reason(one(40, NEAR, 1.0, **good), one(80, NEAR, 1.0, **good), targets=targets) == 'target_reached'
    assert reason(one(40, NEAR, 1.0, **good), one(80, NEAR, 1.0, **bad), targets=targets) is None
    assert reason(one(40, NEAR, 1.0), one(80, NEAR, 1.0), targets=targets) is None


def test_two_rounds_with_small_gains_are_a_plateau():
    assert reason(one(40, gain=SMALL), one(80, gain=SMALL)) == 'plateau'
    assert reason(one(40, gain=LARGE), one(80, gain=SMALL)) is None


@pytest.mark.parametrize('gain', [UNCERTAIN, None])
def test_an_uncertain_gain_is_not_a_plateau(gain):
    assert reason(one(40, gain=gain), one(80, gain=SMALL)) is None


def test_the_campaign_stops_before_a_round_that_exceeds_the_budget():
    assert reason(one(160)) is None
    assert reason(one(161)) == 'budget_spent'
    assert reason(one(10**6), targets=Targets(0.1, None, 6, 40)) is None


def test_two_refused_models_end_the_campaign():
    assert reason(one(accepted=False)) is None
    assert reason(one(40, accepted=False, gain=SMALL), one(80, accepted=False, gain=SMALL)) == 'models_refused'


def test_a_refused_model_is_not_part_of_a_plateau():
    assert reason(one(40, gain=SMALL, accepted=False), one(80, gain=SMALL)) is None


def test_the_number_of_rounds_is_limited():
    assert reason(one(40), one(80), one(120), targets=Targets(0.1, None, 3, 40)) == 'maximum_rounds'


def test_a_message_contains_the_numbers():
    message = decide([one(170)], TARGETS).message
    assert all(number in message for number in ('170', '200', '40', '0.200'))
    with pytest.raises(ValueError, match='round'):
        decide([], TARGETS)
