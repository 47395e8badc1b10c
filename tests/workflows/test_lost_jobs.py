"""Explorations whose jobs leave damaged files or none. The jobs are real and run concurrently."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from aiida.common import LinkType
from aiida.engine import ToContext, WorkChain, run_get_node
from ase.build import bulk
from support.environments import environment_of

from aiida_mlip_autopipe.calculations.explore import exploration_inputs
from aiida_mlip_autopipe.data.seed import SeedData
from aiida_mlip_autopipe.exploration import RUNNER_VERSION, ExplorationSettings
from aiida_mlip_autopipe.jobs.contract import CHECKPOINT_FILE, RESULT_FILE, TRAJECTORY_FILE
from aiida_mlip_autopipe.structures.seed import Seed
from aiida_mlip_autopipe.workflows.exploration import ExplorationWorkChain
from aiida_mlip_autopipe.workflows.lost_jobs import MAX_LOST

pytestmark = pytest.mark.integration

ONCE = (
    'folder lost while it runs',
    'checkpoint damaged once',
    'trajectory truncated once',
    'result truncated once',
    'writes nothing once',
)
DAMAGE = f'printf garbage | dd of={CHECKPOINT_FILE} bs=1 seek=700 conv=notrunc'
NO_GPU_MEMORY = '{"outcome": "failed", "message": "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."}'
# Takes longer than the one second of CPU time after which the job is killed, and writes no checkpoint by then.
LONG = {'n_steps': 1500, 'frame_interval': 100, 'checkpoint_interval': 10_000}

# The settings, the lines of the submission script, and the exit codes of the work chain and of its jobs, by case.
CASES = {
    'undisturbed': ({}, {}, 0, [0]),
    'killed before its first checkpoint': (LONG, {'prepend_text': '{once} && ulimit -t 1'}, 0, [300, 0]),
    'folder lost while it runs': ({}, {'prepend_text': '{once} && rm -rf "$PWD"'}, 0, [300, 0]),
    'checkpoint damaged once': ({}, {'append_text': f'{{once}} && {DAMAGE}'}, 0, [304, 0]),
    'checkpoint always damaged': ({}, {'append_text': DAMAGE}, 408, [304] * (MAX_LOST + 1)),
    'trajectory truncated once': ({}, {'append_text': f'{{once}} && truncate -s 100 {TRAJECTORY_FILE}'}, 0, [303, 0]),
    'result truncated once': ({}, {'append_text': f'{{once}} && truncate -s 100 {RESULT_FILE}'}, 0, [301, 0]),
    'writes nothing once': (
        {},
        {'append_text': f'{{once}} && rm {RESULT_FILE} {CHECKPOINT_FILE} {TRAJECTORY_FILE}'},
        0,
        [300, 0],
    ),
    'no result': ({}, {'append_text': f'rm {RESULT_FILE} {CHECKPOINT_FILE}'}, 406, [300] * (MAX_LOST + 1)),
    'GPU out of memory': ({}, {'append_text': f"echo '{NO_GPU_MEMORY}' > {RESULT_FILE}"}, 407, [336]),
}


class LosingJobs(WorkChain):
    """Runs all cases concurrently."""

    @classmethod
    def define(cls, spec):
        super().define(spec)
        spec.input('code', valid_type=orm.AbstractCode)
        spec.input('folder', valid_type=str, is_metadata=True)
        spec.outline(cls.submit_all, cls.end)

    def submit_all(self):
        return ToContext(
            **{
                f'case_{number}': self.submit(ExplorationWorkChain, job=self._job(number, settings, texts))
                for number, (settings, texts, *_) in enumerate(CASES.values())
            }
        )

    def end(self):
        """End after the children; the last step of an outline does not wait for its children."""

    def _job(self, number, settings, texts):
        once = f'mkdir {self.inputs.folder}/{number} 2>/dev/null'
        options = {name: text.replace('{once}', once) for name, text in texts.items()}
        exploration = {'temperature_K': 600, 'n_steps': 20, 'frame_interval': 5, **settings}
        return {
            'code': self.inputs.code,
            'seed': SeedData.from_seed(Seed(bulk('Cu', cubic=True), {'kind': 'structures'})),
            'random_seed': orm.Int(1),
            'calculator': orm.Dict({'kind': 'emt'}),
            'environment': orm.Dict(environment_of().model_dump(mode='json')),
            **exploration_inputs(ExplorationSettings(**exploration)),
            'runner_version': orm.Str(RUNNER_VERSION),
            'metadata': {'options': {'resources': {'num_machines': 1, 'num_mpiprocs_per_machine': 1}, **options}},
        }


@pytest.fixture(scope='module')
def ended(emt_code, tmp_path_factory):
    """The explorations, by case."""
    _, node = run_get_node(LosingJobs, code=emt_code, folder=str(tmp_path_factory.mktemp('once')))
    return dict(zip(CASES, sorted(node.called, key=lambda child: child.pk), strict=True))


def jobs_of(exploration):
    return sorted(exploration.called, key=lambda job: job.pk)


@pytest.mark.parametrize('case', CASES)
@pytest.mark.chaos
def test_a_lost_job_is_submitted_again_a_limited_number_of_times(ended, case):
    *_, status, of_jobs = CASES[case]
    assert [job.exit_status for job in jobs_of(ended[case])] == of_jobs
    assert ended[case].exit_status == status


def test_a_repeated_job_has_the_same_inputs(ended):
    for case in ('killed before its first checkpoint', *ONCE):
        first, second = (
            {link.link_label: link.node.uuid for link in job.base.links.get_incoming(link_type=LinkType.INPUT_CALC)}
            for job in jobs_of(ended[case])
        )
        assert first == second


@pytest.mark.chaos
def test_lost_legs_do_not_affect_the_frames(ended):
    expected = ended['undisturbed'].outputs.legs
    for case in ONCE:
        legs = ended[case].outputs.legs
        assert list(legs) == ['leg_01']
        np.testing.assert_array_equal(legs.leg_01.get_array('positions'), expected.leg_01.get_array('positions'))
    assert 'legs' not in ended['checkpoint always damaged'].outputs
