import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from ase.build import bulk
from support.environments import environment_of

from aiida_mlip_autopipe.calculations.explore import exploration_inputs
from aiida_mlip_autopipe.calculators.kinds.emt import EMTSettings
from aiida_mlip_autopipe.data.seed import SeedData
from aiida_mlip_autopipe.exploration import RUNNER_VERSION, ExplorationSettings
from aiida_mlip_autopipe.structures.seed import Seed
from aiida_mlip_autopipe.workflows.exploration import ExplorationWorkChain

pytestmark = pytest.mark.integration


@pytest.fixture
def explore(emt_code):
    def run(wallclock_s=None, process_class=ExplorationWorkChain, max_legs=20, random_seed=1, record=None, **settings):
        atoms = bulk('Cu', cubic=True) * (2, 2, 2)
        exploration = ExplorationSettings(**{'temperature_K': 300, 'n_steps': 60, 'frame_interval': 10, **settings})
        options = {'resources': {'num_machines': 1, 'num_mpiprocs_per_machine': 1}}
        if wallclock_s:
            options['max_wallclock_seconds'] = wallclock_s
        _, node = run_get_node(
            process_class,
            job={
                'code': emt_code,
                'seed': SeedData.from_seed(Seed(atoms, {'kind': 'structures', **(record or {})})),
                'random_seed': orm.Int(random_seed),
                'calculator': orm.Dict(EMTSettings().model_dump(mode='json')),
                'environment': orm.Dict(environment_of().model_dump(mode='json')),
                **exploration_inputs(exploration),
                'runner_version': orm.Str(RUNNER_VERSION),
                'metadata': {'options': options},
            },
            max_iterations=orm.Int(max_legs),
        )
        return node

    return run


def frames_of(node):
    legs = [leg for _, leg in sorted(node.outputs.legs.items())]
    names = ('steps', 'positions', 'energies', 'forces', 'stresses', 'cells')
    return {name: np.concatenate([leg.get_array(name) for leg in legs]) for name in names}


def test_the_outputs_of_an_exploration_are_its_frames_and_its_result(explore):
    node = explore()
    assert node.is_finished_ok
    frames = frames_of(node)
    np.testing.assert_array_equal(frames['steps'], range(10, 61, 10))
    assert np.isfinite(frames['energies']).all()
    assert node.outputs.result['outcome'] == 'completed'
    assert node.outputs.result['versions']['ase']
    assert node.outputs.result['ensemble'] == 'npt'
    assert explore(n_steps=10, record={'form': 'slab'}).outputs.result['ensemble'] == 'nvt'


class PurgingWorkChain(ExplorationWorkChain):
    """Deletes the remote folder of each leg, like a cluster that purges its scratch folders."""

    def inspect_process(self):
        import shutil

        shutil.rmtree(self.ctx.children[-1].outputs.remote_folder.get_remote_path())
        return super().inspect_process()


def test_legs_limited_by_the_wall_time_give_the_same_frames_even_if_scratch_is_purged(explore):
    settings = {'n_steps': 1500, 'frame_interval': 100, 'checkpoint_interval': 50}
    expected = frames_of(explore(**settings))
    node = explore(wallclock_s=5, process_class=PurgingWorkChain, **settings)
    assert node.is_finished_ok, node.exit_message
    jobs = [job for job in node.called if isinstance(job, orm.CalcJobNode)]
    assert len(jobs) > 1, 'the wall time was never reached'
    assert {job.exit_status for job in jobs} == {0, 400}
    in_legs = frames_of(node)
    for name, array in expected.items():
        np.testing.assert_array_equal(in_legs[name], array, err_msg=name)


def test_an_unstable_run_keeps_its_good_frames_and_its_reason(explore):
    node = explore(frame_interval=1, guards={'force_eV_per_A': 0.5}, recovery={'max_recoveries': 0})
    assert node.exit_status == ExplorationWorkChain.exit_codes.ERROR_UNSTABLE.status
    assert len(frames_of(node)['steps']) > 0
    assert node.outputs.result['events']


def test_an_unstable_run_recovers_from_its_last_good_frame(explore):
    node = explore(
        frame_interval=1,
        guards={'force_eV_per_A': 0.5},
        recovery={'max_recoveries': 1, 'temperature_factor': 0.02, 'timestep_factor': 1.0},
    )
    assert node.is_finished_ok, node.exit_message
    first, second = (job for job in node.called if isinstance(job, orm.CalcJobNode))
    assert (first.exit_status, second.exit_status) == (410, 0)
    assert second.inputs.checkpoint.uuid == first.outputs.checkpoint.uuid
    steps = frames_of(node)['steps']
    np.testing.assert_array_equal(steps, range(1, 61))
    assert 'leg_01' in node.outputs.crashes


def test_only_the_same_random_seed_gives_the_same_trajectory(explore):
    first, again, other = (frames_of(explore(random_seed=number)) for number in (1, 1, 2))
    np.testing.assert_array_equal(first['positions'], again['positions'])
    assert (first['positions'] != other['positions']).any()
