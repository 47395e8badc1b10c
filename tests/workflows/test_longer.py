"""A longer exploration continues a finished shorter one only if it begins like the shorter one."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from ase.build import bulk
from support.at_once import run_at_once
from support.environments import environment_of

from aiida_mlip_autopipe.calculations.explore import ExplorationCalculation, exploration_inputs
from aiida_mlip_autopipe.data.seed import SeedData
from aiida_mlip_autopipe.exploration import RUNNER_VERSION, ExplorationSettings
from aiida_mlip_autopipe.labelling import LABELLING_VERSION
from aiida_mlip_autopipe.structures.seed import Seed
from aiida_mlip_autopipe.workflows.exploration import ExplorationWorkChain
from aiida_mlip_autopipe.workflows.legs.earlier import find_earlier_legs

pytestmark = pytest.mark.integration

ARRAYS = ('steps', 'positions', 'cells', 'energies', 'forces', 'stresses', 'temperatures')


def hold(n_steps):
    return [{'kind': 'ramp', 'n_steps': 20, 'temperature_K': 500}, {'kind': 'hold', 'n_steps': n_steps}]


def ramp(n_steps):
    return [{'kind': 'ramp', 'n_steps': n_steps, 'temperature_K': 500}]


# The first leg crashes; the next one is so cold that it is stable.
RECOVERED = {
    'random_seed': 5,
    'frame_interval': 1,
    'guards': {'force_eV_per_A': 0.5},
    'recovery': {'max_recoveries': 1, 'temperature_factor': 0.02, 'timestep_factor': 0.5},
}

# Runs by their changed inputs. The runs of a wave are concurrent. The uninterrupted runs come last, because a run with
# the same number of steps is preferred to a shorter one.
WAVES = (
    {
        'short': {'n_steps': 1000},
        'short hold': {'phases': hold(20), 'random_seed': 2},
        'short ramp': {'phases': ramp(40)},
        'short recovered': {'n_steps': 40, **RECOVERED},
        'first long': {'n_steps': 3000, 'random_seed': 4},
    },
    {
        'long': {'n_steps': 3000, 'checkpoint_interval': 300},
        'long hold': {'phases': hold(60), 'random_seed': 2},
        'long ramp': {'phases': ramp(80)},
        'long recovered': {'n_steps': 100, **RECOVERED},
        'then short': {'n_steps': 1000, 'random_seed': 4},
        'other random seed': {'n_steps': 100, 'random_seed': 3},
        'other temperature': {'n_steps': 100, 'temperature_K': 310},
        'other model': {'n_steps': 100, 'calculator': {'kind': 'emt', 'cutoff_A': 7.0}},
    },
    {
        'long again': {'n_steps': 3000},
        'short again': {'n_steps': 1000},
        'longer': {'n_steps': 3010, 'committee': True},
        'uninterrupted hold': {'phases': hold(60), 'random_seed': 2, 'reuse': False},
        'uninterrupted': {'n_steps': 3000, 'reuse': False},
        'uninterrupted recovered': {'n_steps': 100, **RECOVERED, 'reuse': False},
    },
)


def inputs_of(code, reuse=True, random_seed=1, calculator=None, committee=False, **settings):
    options = {'resources': {'num_machines': 1, 'num_mpiprocs_per_machine': 1}}
    common = {
        'code': code,
        'calculator': orm.Dict(calculator or {'kind': 'emt'}),
        'environment': orm.Dict(environment_of(calculator).model_dump(mode='json')),
        'metadata': {'options': options},
    }
    job = {
        **common,
        'seed': SeedData.from_seed(Seed(bulk('Cu', cubic=True), {'kind': 'structures'})),
        'random_seed': orm.Int(random_seed),
        'runner_version': orm.Str(RUNNER_VERSION),
        **exploration_inputs(ExplorationSettings(**{'temperature_K': 300, 'frame_interval': 10, **settings})),
    }
    inputs = {'job': job, 'reuse_finished': reuse}
    if committee:
        inputs['committee'] = {**common, 'evaluation_version': orm.Str(LABELLING_VERSION)}
    return inputs


@pytest.fixture(scope='module')
def ended(emt_code):
    """The explorations, by name."""
    nodes = {}
    for wave in WAVES:
        run = run_at_once(ExplorationWorkChain, [inputs_of(emt_code, **changes) for changes in wave.values()])
        nodes |= dict(zip(wave, run, strict=True))
    assert all(node.is_finished_ok for node in nodes.values())
    return nodes


def legs(exploration):
    return [leg for _, leg in sorted(exploration.outputs.legs.items())]


def jobs(exploration):
    called = [job for job in exploration.called if job.process_class is ExplorationCalculation]
    return sorted(called, key=lambda job: job.pk)


def frames(exploration):
    return {name: np.concatenate([leg.get_array(name) for leg in legs(exploration)]) for name in ARRAYS}


def reports(exploration):
    return [log.message for log in orm.Log.collection.get_logs_for(exploration)]


@pytest.mark.parametrize(
    ('long', 'short', 'step', 'uninterrupted', 'n_frames'),
    [('long', 'short', 1000, 'uninterrupted', 300), ('long hold', 'short hold', 40, 'uninterrupted hold', 8)],
)
def test_a_longer_run_continues_the_shorter_one_and_gives_the_frames_of_an_uninterrupted_run(
    ended, long, short, step, uninterrupted, n_frames
):
    (leg, new), (job,) = legs(ended[long]), jobs(ended[long])
    assert leg.uuid == legs(ended[short])[0].uuid
    assert job.inputs.checkpoint.uuid == jobs(ended[short])[0].outputs.checkpoint.uuid
    assert any(f'exploration {ended[short].pk} from step {step}' in message for message in reports(ended[long]))
    assert new.get_stepids()[0] == step + 10
    expected = frames(ended[uninterrupted])
    assert len(expected['steps']) == n_frames
    for name, array in frames(ended[long]).items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


def test_times_increase_over_all_legs(ended):
    times = np.concatenate([leg.get_times() for leg in legs(ended['longer'])])
    assert len(times) == 301
    np.testing.assert_allclose(np.diff(times), 0.02, rtol=1e-12)


def test_the_repeated_longer_run_is_taken_from_the_cache(ended):
    (job,) = jobs(ended['long again'])
    assert job.base.caching.is_created_from_cache
    expected = frames(ended['uninterrupted'])
    for name, array in frames(ended['long again']).items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


def test_a_run_with_a_recovery_is_continued_unchanged(ended):
    assert [job.exit_status for job in jobs(ended['short recovered'])] == [410, 0]
    (job,) = jobs(ended['long recovered'])
    assert job.inputs.recoveries.uuid == jobs(ended['short recovered'])[1].inputs.recoveries.uuid
    assert list(ended['long recovered'].outputs.crashes) == ['leg_01']
    assert sorted(ended['long recovered'].outputs.legs) == ['leg_01', 'leg_02', 'leg_03']
    expected = frames(ended['uninterrupted recovered'])
    for name, array in frames(ended['long recovered']).items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)
    times = np.concatenate([leg.get_times() for leg in legs(ended['long recovered'])])
    assert (np.diff(times) > 0).all()


def test_a_shorter_run_after_a_longer_one_has_only_the_requested_steps(ended):
    assert [job.base.caching.is_created_from_cache for job in jobs(ended['short again'])] == [True]
    np.testing.assert_array_equal(frames(ended['short again'])['steps'], range(10, 1001, 10))
    np.testing.assert_array_equal(frames(ended['then short'])['steps'], range(10, 1001, 10))
    longer = frames(ended['first long'])
    for name, array in frames(ended['then short']).items():
        np.testing.assert_array_equal(array, longer[name][:100], err_msg=name)


def test_all_legs_of_the_longest_run_are_continued_and_evaluated(ended):
    assert [leg.uuid for leg in legs(ended['longer'])[:2]] == [leg.uuid for leg in legs(ended['long'])]
    assert len(legs(ended['longer'])) == 3
    evaluations = ended['longer'].outputs.committee
    assert sorted(evaluations) == ['leg_01', 'leg_02', 'leg_03']
    assert [len(evaluations[leg].get_array('energies')) for leg in sorted(evaluations)] == [100, 200, 1]


@pytest.mark.parametrize(
    'name', ['other random seed', 'other temperature', 'other model', 'uninterrupted', 'then short']
)
def test_a_run_with_other_inputs_starts_from_the_seed(ended, name):
    (job,) = jobs(ended[name])
    assert 'checkpoint' not in job.inputs
    assert len(legs(ended[name])) == 1


def test_a_longer_ramp_starts_from_the_seed_and_reports_it(ended):
    (job,) = jobs(ended['long ramp'])
    assert 'checkpoint' not in job.inputs
    assert any(f'exploration {ended["short ramp"].pk}: ' in message for message in reports(ended['long ramp']))


def test_a_number_of_steps_that_contradicts_the_phases_is_refused(emt_code):
    inputs = inputs_of(emt_code, phases=ramp(40))
    inputs['job']['n_steps'] = orm.Int(50)
    with pytest.raises(ValueError, match=r'exploration\.phases: .*\b40\b.*\b50\b'):
        run_at_once(ExplorationWorkChain, [inputs])


def test_legs_that_a_user_has_marked_as_invalid_are_not_continued(emt_code, ended):
    inputs = inputs_of(emt_code, n_steps=3100, random_seed=4)['job']
    for node in inputs.values():
        if isinstance(node, orm.Data):
            node.store()
    assert find_earlier_legs(inputs).legs.exploration == ended['first long'].pk
    (job,) = jobs(ended['first long'])
    job.base.caching.is_valid_cache = False
    assert find_earlier_legs(inputs).legs.exploration == ended['then short'].pk
