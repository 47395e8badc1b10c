"""Short training runs in AiiDA: a job that is killed, jobs that are stopped, the report and the cache."""

import pytest
from aiida import orm
from aiida.engine import run_get_node
from support.trainings import *  # noqa: F403

from aiida_mlip_autopipe.campaigns.progress import read_progress
from aiida_mlip_autopipe.training.contract import Training
from aiida_mlip_autopipe.workflows.lost_jobs import MAX_LOST
from aiida_mlip_autopipe.workflows.training import TrainingWorkChain

pytestmark = [pytest.mark.integration, pytest.mark.mlip]


# Kills the job of the script, as the kernel does if memory runs out, as soon as it has written a checkpoint.
KILL_ONCE = """\
if mkdir {folder}; then
  (until [ -f checkpoint.tar ]; do sleep 0.1; done; pkill -KILL -P $$ python) &
fi"""


def test_a_killed_training_job_is_continued_and_its_epochs_are_taken_from_the_cache(training_inputs, tmp_path):
    training_inputs['training'] = orm.Dict({'kind': 'sevennet', 'n_epochs': 4, 'batch_size': 1})
    options = {'prepend_text': KILL_ONCE.format(folder=tmp_path / 'killed')}
    training_inputs['metadata'] = {'options': {'resources': {'num_machines': 1}, **options}}
    outputs, node = run_get_node(TrainingWorkChain, job=training_inputs)
    assert node.is_finished_ok, node.exit_message
    killed, continued = sorted(node.called, key=lambda job: job.pk)
    assert (killed.exit_status, continued.exit_status) == (401, 0)
    n_done = killed.outputs.result['last_step']
    assert 1 <= n_done < 4
    assert continued.inputs.checkpoint.uuid == killed.outputs.checkpoint.uuid
    report = Training.model_validate(outputs['report'].get_dict())
    assert [epoch.epoch for epoch in report.epochs] == [1, 2, 3, 4]
    assert report.continued_after == (n_done,)
    assert report.offsets_eV['Si'] == pytest.approx(0.34, abs=0.05)
    before, after = report.initial_errors['train'], report.final_errors['train']
    assert after.force_rmse_eV_A < before.force_rmse_eV_A
    model = outputs['trained']
    assert 'Si' in model.base.attributes.get('elements')
    # The job evaluates the model file itself, which contains the offsets of 0.34 eV/atom.
    assert after.energy_rmse_eV_atom < 0.1
    again, node = run_get_node(TrainingWorkChain, job=training_inputs, reuse_finished=True)
    assert again['trained'].sha256 == model.sha256
    assert [job.base.caching.is_created_from_cache for job in node.called] == [True, True]


def test_jobs_that_are_stopped_before_their_first_epoch_count_as_lost(training_inputs):
    training_inputs['metadata'] = {'options': {'resources': {'num_machines': 1}, 'prepend_text': 'touch stop'}}
    _, node = run_get_node(TrainingWorkChain, job=training_inputs)
    assert [job.exit_status for job in node.called] == [400] * (MAX_LOST + 1)
    assert node.exit_status == TrainingWorkChain.exit_codes.ERROR_JOBS_LOST.status
    progress = read_progress(node)
    assert (progress.stage, progress.training.n_epochs, progress.training.last) == ('failed', 2, None)
    assert progress.failure == node.exit_message


def test_structures_for_replay_are_made_in_the_graph(training_inputs):
    training_inputs['training'] = orm.Dict({'kind': 'sevennet', 'recipe': 'replay', 'n_epochs': 1})
    outputs, node = run_get_node(TrainingWorkChain, job=training_inputs, n_replay=orm.Int(4))
    assert node.is_finished_ok, node.exit_message
    made, job = sorted(node.called, key=lambda child: child.pk)
    assert made.process_label == 'make_replay_structures'
    assert made.inputs.elements.get_list() == ['Si']
    assert job.inputs.replay.creator.uuid == made.uuid
    report = Training.model_validate(outputs['report'].get_dict())
    assert (report.recipe, report.n_replayed + report.n_not_replayed) == ('replay', 4)
    assert report.config['data']['rehearsal']
