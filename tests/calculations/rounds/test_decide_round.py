"""The report of a round, and whether another one follows."""

import pytest
from aiida import orm

from aiida_mlip_autopipe.calculations.rounds.decide_round import decide_round, read_errors

SETTINGS = {'target_force_error_eV_A': 0.1, 'maximum': 4, 'label_budget': 200}


def judgement(new, accepted=True, former=0.3, gain=0.5):
    def estimates(value):
        one = {'value': value, 'upper_limit': None if value is None else 1.1 * value}
        return {'force_eV_A': one, 'energy_eV_atom': one}

    return orm.Dict(
        {
            'accepted': accepted,
            'failures': [],
            'errors': {'new': estimates(new), 'former': estimates(former)},
            'gain': {'value': gain, 'upper_limit': 1.2 * gain},
        }
    )


def decide(number, n_labels, earlier=(), bounded=1.0, **optional):
    return decide_round(
        settings=orm.Dict(SETTINGS),
        facts=orm.Dict({'round': number, 'n_labels': n_labels, 'labels_per_round': 40, 'failures': {}}),
        stage_version=orm.Str('test'),
        bounds=orm.Dict({'fraction_bounded': bounded}),
        earlier={f'round_{place}': node for place, node in enumerate(earlier)},
        **optional,
    )


def test_the_target_must_be_reached_in_two_rounds():
    first = decide(1, 40, judgement=judgement(0.05))
    assert first['decision']['reason'] is None
    second = decide(2, 80, [first], judgement=judgement(0.04))
    assert second['decision']['reason'] == 'target_reached'
    assert decide(2, 80, [first], bounded=0.5, judgement=judgement(0.04))['decision']['reason'] is None


def test_after_a_refused_model_the_errors_are_those_of_the_previous_one_and_nothing_is_bounded():
    report = decide(1, 40, judgement=judgement(0.05, accepted=False))
    errors = read_errors(report['errors'])
    assert errors.force_error.value == pytest.approx(0.3)
    assert (errors.accepted, errors.gain, errors.fraction_bounded) == (False, None, 0.0)


def test_two_rounds_without_a_model_end_the_campaign():
    first = decide(1, 40)
    assert first['errors']['force_error'] == {'value': None, 'upper_limit': None}
    assert decide(2, 80, [first])['decision']['reason'] == 'models_refused'


def test_a_model_without_finite_errors_does_not_reach_the_target():
    errors = read_errors(decide(1, 40, judgement=judgement(None))['errors'])
    assert errors.force_error.upper_limit > 1e9


def test_the_budget_and_the_maximum_end_the_campaign():
    history = [decide(1, 161, judgement=judgement(0.2))]
    assert history[0]['decision']['reason'] == 'budget_spent'
    for number in (1, 2, 3, 4):
        history = [*history[: number - 1], decide(number, 10, history[: number - 1], judgement=judgement(0.2))]
    assert history[-1]['decision']['reason'] == 'maximum_rounds'


def test_the_history_survives_the_graph():
    first = decide(1, 40, judgement=judgement(0.2))
    assert read_errors(first['errors']) == read_errors(orm.load_node(first.pk)['errors'])
