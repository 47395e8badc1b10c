"""Labels that are recovered from the folders of killed jobs."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from aiida import orm
from aiida.common import LinkType
from aiida.engine import ProcessState, run_get_node
from support.labelling_runs import *  # noqa: F403

from aiida_mlip_autopipe.calculations.labelling.label import LabellingCalculation, write_job
from aiida_mlip_autopipe.calculations.remote.recover import RecoverLabelsCalculation
from aiida_mlip_autopipe.campaigns.labelling.progress import read_labelling
from aiida_mlip_autopipe.campaigns.provenance.rerun import Means, label_again
from aiida_mlip_autopipe.data.dataset import structures_in
from aiida_mlip_autopipe.jobs.contract import RESULT_FILE
from aiida_mlip_autopipe.jobs.environment import Environment
from aiida_mlip_autopipe.labelling.contract import LABELS_FILE
from aiida_mlip_autopipe.workflows.graph import LABELLING
from aiida_mlip_autopipe.workflows.labelling import LabellingWorkChain

pytestmark = pytest.mark.integration

# Runs a job and kills its process while it computes the third structure.
KILLED_RUN = """
import os, signal
from pathlib import Path
from aiida_mlip_autopipe.jobs.runner import run_job
from aiida_mlip_autopipe.labelling.job import label_structures
from aiida_mlip_autopipe.labelling.single_point import SinglePoints
label = SinglePoints.label
def label_or_die(self, atoms):
    if self.n_done == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return label(self, atoms)
SinglePoints.label = label_or_die
run_job(Path('job.json'), label_structures)
"""


def damage(path: Path) -> None:
    (path / LABELS_FILE).write_text('{"key": "label-0"\n')


# What happens to the folder of the killed job, the exit code of the recovery, and the number of recovered labels.
CASES = {
    'intact': (lambda path: None, 401, 2),
    'truncated': (lambda path: truncate(path / LABELS_FILE), 401, 1),
    'missing': (shutil.rmtree, 300, 0),
    'no result': (lambda path: (path / RESULT_FILE).unlink(), 300, 0),
    'damaged': (damage, 303, 0),
}


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def kill_run(inputs, folder: Path) -> str:
    """Store a labelling run whose only job was killed while it computed its third structure, and return its uuid."""
    rows = orm.List([0, 1, 2])
    request = orm.Dict(inputs['job']['request'].get_dict() | {'isolated_atoms': [], 'variant': ''})
    job_inputs = {
        **{name: node for name, node in inputs['job'].items() if isinstance(node, orm.Data)},
        **{name: inputs[name] for name in ('dataset', 'level')},
        'rows': rows,
        'request': request,
    }
    structures = structures_in(inputs['dataset'].store(), rows.get_list())
    environment = Environment.model_validate(inputs['job']['environment'].get_dict())
    write_job(job_inputs, structures, {'kind': 'emt'}, folder, environment=environment)
    done = subprocess.run([sys.executable, '-c', KILLED_RUN], cwd=folder, check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    run = orm.WorkChainNode(process_type=LABELLING)
    run.set_process_state(ProcessState.KILLED)
    run.store()
    code = inputs['job']['code']
    job = orm.CalcJobNode(computer=code.computer, process_type=LabellingCalculation.build_process_type())
    for name, node in job_inputs.items():
        job.base.links.add_incoming(node.store(), LinkType.INPUT_CALC, name)
    job.base.links.add_incoming(run, LinkType.CALL_CALC, 'labels_0')
    job.set_process_state(ProcessState.KILLED)
    job.set_remote_workdir(str(folder))
    job.store()
    remote = orm.RemoteData(remote_path=str(folder), computer=code.computer)
    remote.base.links.add_incoming(job, LinkType.CREATE, 'remote_folder')
    remote.store()
    return run.uuid


def jobs_of(run):
    return [job for job in sorted(run.called, key=lambda job: job.pk) if isinstance(job, orm.CalcJobNode)]


@pytest.fixture(scope='module')
def resume(make_dataset, make_inputs, tmp_path_factory):
    """Return a function that runs the labelling run of a case, which resumes a killed one."""

    def run(case):
        numbers = [1000 * (list(CASES).index(case) + 1) + number for number in range(3)]
        inputs = make_inputs(make_dataset(*numbers), isolated_atoms=False)
        folder = tmp_path_factory.mktemp('killed')
        resumes = kill_run(inputs, folder)
        CASES[case][0](folder)
        return run_get_node(LabellingWorkChain, **inputs, resumes=resumes)[1], inputs

    return run


@pytest.mark.parametrize(
    'case', [pytest.param(case, marks=() if case == 'intact' else pytest.mark.long) for case in CASES]
)
def test_only_labels_that_a_killed_job_did_not_finish_are_computed(resume, case):
    _, status, n_recovered = CASES[case]
    run, inputs = resume(case)
    assert run.is_finished_ok, run.exit_message
    recovery, job = jobs_of(run)
    assert (recovery.process_class, recovery.exit_status) == (RecoverLabelsCalculation, status)
    assert job.inputs.rows.get_list() == list(range(n_recovered, 3))
    progress = read_labelling(run)
    assert (progress.n_structures, progress.n_known, progress.n_labelled) == (3, n_recovered, 3 - n_recovered)
    if n_recovered:
        labels = recovery.outputs.labels
        again = label_again(recovery, labels.keys, Means()).labels
        for key, label in zip(labels.keys, labels.outcomes(), strict=True):
            assert again[key].energy_eV == label.energy_eV
            assert again[key].forces_eV_A.tobytes() == label.forces_eV_A.tobytes()
    undisturbed = run_get_node(LabellingWorkChain, **{**inputs, 'reuse_finished': False})[1]
    for row, other in zip(*(one.outputs.dataset.rows() for one in (run, undisturbed)), strict=True):
        assert row.labels['energy'] == other.labels['energy']
        assert row.labels['forces'].tobytes() == other.labels['forces'].tobytes()
    if n_recovered:
        again = run_get_node(LabellingWorkChain, **inputs, resumes=run.uuid)[1]
        assert jobs_of(again) == [], 'labels that were recovered are not recovered again'
