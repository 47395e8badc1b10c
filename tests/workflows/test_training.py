"""A short training run in AiiDA: the model, its report and the cache."""

import pytest
from aiida import orm
from aiida.engine import run_get_node
from support.trainings import *  # noqa: F403

from aiida_mlip_autopipe.training.contract import Training
from aiida_mlip_autopipe.workflows.training import TrainingWorkChain

pytestmark = [pytest.mark.integration, pytest.mark.mlip]


def test_a_trained_model_fits_the_labels_better_and_is_taken_from_the_cache(training_inputs):
    outputs, node = run_get_node(TrainingWorkChain, job=training_inputs)
    assert node.is_finished_ok, node.exit_message
    report = Training.model_validate(outputs['report'].get_dict())
    assert [epoch.epoch for epoch in report.epochs] == [1, 2]
    assert report.offsets_eV['Si'] == pytest.approx(0.34, abs=0.05)
    before, after = report.initial_errors['train'], report.final_errors['train']
    assert after.force_rmse_eV_A < before.force_rmse_eV_A
    model = outputs['trained']
    assert 'Si' in model.base.attributes.get('elements')
    # The job evaluates the model file itself, which contains the offsets of 0.34 eV/atom.
    assert after.energy_rmse_eV_atom < 0.1
    again, node = run_get_node(TrainingWorkChain, job=training_inputs, reuse_finished=True)
    assert again['trained'].sha256 == model.sha256
    (job,) = (child for child in node.called if isinstance(child, orm.CalcJobNode))
    assert job.base.caching.is_created_from_cache
