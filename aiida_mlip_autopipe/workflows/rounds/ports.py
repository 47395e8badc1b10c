"""The inputs, outputs and exit codes of `CampaignWorkChain`."""

from __future__ import annotations

from aiida import orm

from aiida_mlip_autopipe.aiida_internals import WorkChainSpec
from aiida_mlip_autopipe.calculations import validators
from aiida_mlip_autopipe.calculations.training.train import TrainingCalculation
from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.data.model import ModelData
from aiida_mlip_autopipe.rounds.settings import RoundsSettings
from aiida_mlip_autopipe.workflows.dataset import DatasetWorkChain


def define_inputs(spec: WorkChainSpec) -> None:
    """Define the inputs: those of `DatasetWorkChain`, which explores and labels, and those of the other jobs."""
    spec.expose_inputs(DatasetWorkChain, exclude=('random_share', 'reference_dataset', 'comparison', 'metadata'))
    spec.expose_inputs(
        TrainingCalculation, namespace='training', exclude=('dataset', 'splits', 'random_seed', 'checkpoint')
    )
    spec.input(
        'n_replay', valid_type=orm.Int, help='Number of structures to make for replay, if the recipe needs them.'
    )
    spec.input('max_training_jobs', valid_type=orm.Int, help='Maximum number of jobs of one training run.')
    spec.input('rounds', valid_type=orm.Dict, help='The settings of the rounds.')
    spec.input('elements', valid_type=orm.List, help='Symbols of the elements of the seeds.')
    spec.input('hot_runs', valid_type=orm.Dict, help='Settings of the hot runs: dynamics at one temperature.')
    validators.set_validators(spec.inputs, {'rounds': validators.validate_as('rounds', RoundsSettings)})


def define_outputs(spec: WorkChainSpec) -> None:
    """Define the outputs and the exit codes."""
    spec.output_namespace(
        'rounds',
        dynamic=True,
        help='For each round, such as `round_1`: `dataset` with the rows so far, `models`, `assessments` and `report`.',
    )
    spec.output('dataset', valid_type=DatasetData, required=False, help='The rows of all rounds.')
    spec.output('model', valid_type=ModelData, required=False, help='The best model.')
    for status, label, message in (
        (405, 'ERROR_STOPPED', 'Stopped by a user; continue it with `mlip-autopipe resume`.'),
        (410, 'ERROR_ROUND', 'Round {number} failed; the results of the earlier rounds are kept: {reason}'),
    ):
        spec.exit_code(status, label, message=message)
