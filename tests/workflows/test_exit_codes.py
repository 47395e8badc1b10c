"""Every exit code of an exploration, from real jobs that fail on purpose."""

from __future__ import annotations

import hashlib
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from aiida import orm
from aiida.engine import ToContext, WorkChain, run_get_node
from ase import Atoms
from ase.build import bulk
from support.environments import environment_of

from aiida_mlip_autopipe.calculations.explore import ExplorationCalculation
from aiida_mlip_autopipe.data.model import ModelData
from aiida_mlip_autopipe.data.model_store import record_model
from aiida_mlip_autopipe.data.seed import SeedData
from aiida_mlip_autopipe.exploration import RUNNER_VERSION
from aiida_mlip_autopipe.jobs.contract import CHECKPOINT_FILE, RESULT_FILE, TRAJECTORY_FILE
from aiida_mlip_autopipe.structures.seed import Seed
from aiida_mlip_autopipe.workflows.exploration import ExplorationWorkChain

pytestmark = pytest.mark.integration

COPPER = bulk('Cu', cubic=True)
WEIGHTS = b'weights'


def overlapping() -> Atoms:
    atoms = COPPER.copy()
    atoms.positions[1] = atoms.positions[0] + [0.5, 0.0, 0.0]
    return atoms


def after_the_job(command: str) -> dict:
    """Return options that make the submission script damage the files of the job."""
    return {'options': {'append_text': command}}


# For each exit code, the changed inputs that make a job end with it.
CHANGES = {
    300: after_the_job(f'rm {RESULT_FILE} {CHECKPOINT_FILE}'),
    301: after_the_job(f'truncate -s 100 {RESULT_FILE}'),
    302: after_the_job(f'rm {TRAJECTORY_FILE}'),
    303: after_the_job(f'truncate -s 700 {TRAJECTORY_FILE}'),
    304: after_the_job(f'truncate -s 700 {CHECKPOINT_FILE}'),
    310: {'runner_version': 'another'},
    # Whether these settings are valid depends on the seed, so no port can check them.
    311: {'atoms': bulk('Cu')},
    320: {'calculator': {'kind': 'custom', 'calculator': 'no_such_package:Thing', 'cutoff_A': 5.0}},
    321: {'calculator': {'kind': 'sevennet'}, 'model': 'no-such-model'},
    322: {'calculator': {'kind': 'sevennet'}, 'model': '7net-0'},
    323: {'atoms': bulk('Fe', cubic=True)},
    324: {'environment': {'numpy': '1.0'}},
    325: {'calculator': {'kind': 'sevennet'}, 'model': Path('/no/such.pth')},
    # ASE's base class computes nothing, so the energy is missing.
    350: {'calculator': {'kind': 'custom', 'calculator': 'ase.calculators.calculator:Calculator', 'cutoff_A': 5.0}},
    400: {'options': {'max_wallclock_seconds': 1}},
    # The kernel kills the job after four seconds of CPU time.
    401: {
        'n_steps': 10_000_000,
        'options': {'prepend_text': 'ulimit -t 4'},
    },
    410: {'exploration': {'guards': {'force_eV_per_A': 0.3}}},
    411: {'atoms': overlapping()},
}
# The exit codes of the work chain, by those exit codes of the job that it handles.
RESTARTED = {400: 403, 410: 410, 411: 411}
# Names and numbers in the messages.
VALUES = {
    303: ['trajectory.traj'],
    304: ['checkpoint.npz'],
    310: ['another'],
    320: ["'no_such_package'"],
    321: ['no-such-model'],
    322: ['000000000000'],
    323: ["'emt'", 'Fe'],
    324: ['numpy', 'mlip-autopipe calculator test autopipe-emt@localhost'],
    325: [hashlib.sha256(WEIGHTS).hexdigest(), '/no/such.pth'],
    350: ['KeyError'],
    410: ['0.3'],
    411: ['100', 'step 0'],
}


class FailingJobs(WorkChain):
    """Runs all jobs concurrently."""

    @classmethod
    def define(cls, spec):
        super().define(spec)
        spec.input('code', valid_type=orm.AbstractCode)
        spec.outline(cls.submit_all, cls.end)

    def submit_all(self):
        children = {}
        for status, changes in CHANGES.items():
            job = self._job(**changes)
            if status in RESTARTED:
                child = self.submit(ExplorationWorkChain, job=job)
            else:
                child = self.submit(ExplorationCalculation, **job)
            children[f'status_{status}'] = child
        return ToContext(**children)

    def end(self):
        """End after the children; the last step of an outline does not wait for its children."""

    def _job(
        self,
        atoms=COPPER,
        calculator=None,
        environment=None,
        exploration=None,
        n_steps=20,
        runner_version=RUNNER_VERSION,
        options=None,
        model=None,
    ):
        settings = {'temperature_K': 600, 'frame_interval': 1, 'recovery': {'max_recoveries': 0}}
        resources = {'num_machines': 1, 'num_mpiprocs_per_machine': 1}
        return {
            'code': self.inputs.code,
            **({} if model is None else {'model': self._model(model)}),
            'seed': SeedData.from_seed(Seed(atoms, {'kind': 'structures'})),
            'random_seed': orm.Int(1),
            'calculator': orm.Dict(calculator or {'kind': 'emt'}),
            'environment': orm.Dict({**environment_of(calculator).model_dump(mode='json'), **(environment or {})}),
            'exploration': orm.Dict({**settings, **(exploration or {})}),
            'n_steps': orm.Int(n_steps),
            'checkpoint_interval': 10,
            'runner_version': orm.Str(runner_version),
            'metadata': {'options': {'resources': resources, **(options or {})}},
        }

    def _model(self, model):
        """Return a shipped model with a wrong sha256, or a model whose file is missing."""
        if isinstance(model, str):
            return ModelData.from_shipped(model, '0' * 64, 'sevennet')
        with TemporaryDirectory() as folder:
            file = Path(folder, model.name)
            file.write_bytes(WEIGHTS)
            node = ModelData.from_file(file, 'sevennet')
        record_model(self.inputs.code.computer, node.sha256, str(model))
        return node


@pytest.fixture(scope='module')
def failed(emt_code):
    """The processes, by their expected exit status."""
    _, node = run_get_node(FailingJobs, code=emt_code)
    links = node.base.links.get_outgoing().all()
    children = sorted((link.node for link in links), key=lambda child: child.pk)
    return dict(zip(CHANGES, children, strict=True))


def job_of(process):
    return process if isinstance(process, orm.CalcJobNode) else process.called[-1]


@pytest.mark.parametrize('status', CHANGES)
def test_a_job_that_fails_has_the_expected_exit_code_and_a_message_of_one_line(failed, status):
    job = job_of(failed[status])
    assert job.exit_status == status, job.exit_message
    assert all(value in job.exit_message for value in VALUES.get(status, [])), job.exit_message
    assert '\n' not in job.exit_message


@pytest.mark.parametrize(('status', 'restarted'), RESTARTED.items())
def test_the_work_chain_has_the_expected_exit_code(failed, status, restarted):
    assert failed[status].exit_status == restarted


def test_every_exit_code_of_the_job_is_tested():
    """Except 330 to 339, which are failures of the machine."""
    codes = {code.status for code in ExplorationCalculation.exit_codes.values() if code.status >= 300}
    assert codes - set(range(330, 340)) == set(CHANGES)


def test_good_frames_and_crash_frames_are_attached(failed):
    unstable, broken = failed[410].outputs, failed[411].outputs
    assert np.isfinite(unstable.legs.leg_01.get_array('energies')).all()
    assert unstable.crashes.leg_01.filename == 'crash.traj'
    assert 'legs' not in broken
    assert broken.crashes.leg_01.filename == 'crash.traj'
    assert 'checkpoint' in job_of(failed[400]).outputs
