"""A CalcJob that fine-tunes a model on the labels of a dataset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from aiida import orm
from aiida.common.datastructures import CalcInfo
from aiida.common.folders import Folder
from aiida.engine import CalcJobProcessSpec
from pydantic import Field, ValidationError

from aiida_mlip_autopipe.calculations import validators
from aiida_mlip_autopipe.calculations.job import CheckpointedJob
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.data.model import ModelData
from aiida_mlip_autopipe.jobs import contract
from aiida_mlip_autopipe.structures.rows.row import Row, isolated_atom_energies
from aiida_mlip_autopipe.structures.rows.splits import Split
from aiida_mlip_autopipe.training.contract import (
    CHECKPOINT_FILE,
    LOG_FILE,
    MODEL_FILE,
    REPLAY_FILE,
    SETS_FILE,
    START_CHECKPOINT_FILE,
    TRAINING_FILE,
    TrainingJob,
)
from aiida_mlip_autopipe.training.sets import write_sets
from aiida_mlip_autopipe.training.trainer import OF_REPLAY, OF_THE_MODEL, OF_THE_RUN, TRAINERS


def write_job(inputs: Mapping[str, Any], calculator: dict[str, Any], folder: Path, **fields: Any) -> None:
    """Write ``job.json`` and the sets to the folder of a job.

    Parameters
    ----------
    inputs
        The inputs of a `TrainingCalculation`.
    calculator
        Settings of the calculator, with its model.
    folder
        The folder.
    fields
        Fields of ``job.json`` that do not follow from these inputs.
    """
    random_seed = inputs['random_seed'].value
    rows = inputs['dataset'].rows()
    sets = write_sets(folder / SETS_FILE, rows, inputs['splits'].get_list(), random_seed)
    is_new = inputs['training'].get_dict().get('recipe') == 'scratch'
    job = TrainingJob(
        training_version=inputs['training_version'].value,
        calculator=calculator,
        training=inputs['training'].get_dict(),
        sets=sets,
        random_seed=random_seed,
        replay=REPLAY_FILE if 'replay' in inputs else None,
        isolated_atom_energies_eV=_isolated_atoms(rows) if is_new else None,
        **fields,
    )
    (folder / contract.JOB_FILE).write_text(job.model_dump_json(indent=2))


def _isolated_atoms(rows: Sequence[Row]) -> dict[str, float] | None:
    """Return the energies of isolated atoms in eV; None for labels of a potential, which only extrapolates to them."""
    *_, last = rows
    level = last.level
    return None if level is None or level.method == 'mlip' else isolated_atom_energies(rows)


class TrainingCalculation(CheckpointedJob):
    """Runs ``python -m aiida_mlip_autopipe.training job.json`` with the input ``code``."""

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:
        """Define inputs, outputs and exit codes."""
        super().define(spec)
        spec.input('dataset', valid_type=DatasetData, help='The dataset with the labels.')
        spec.input('splits', valid_type=orm.List, help='The set of each row: `train`, `valid` or `test`.')
        spec.input('training', valid_type=orm.Dict, help='The settings of the trainer, without the model.')
        spec.input(
            'replay',
            valid_type=orm.SinglefileData,
            required=False,
            help='Structures for replay, which the initial model labels.',
        )
        spec.input('random_seed', valid_type=orm.Int, help='Random seed of the order of the rows and of the trainer.')
        spec.input(
            'training_version', valid_type=orm.Str, help='Version of the method; increased when its results change.'
        )
        validators.set_validators(
            spec.inputs,
            {
                'training': _check_settings,
                'splits': validators.validate_as('splits', list[Split]),
                'random_seed': validators.validate_as('random_seed', Annotated[int, Field(ge=0)]),
            },
            _check_splits,
        )
        spec.inputs['metadata']['options']['parser_name'].default = 'mlip_autopipe.train'
        spec.output(
            'trained',
            valid_type=ModelData,
            required=False,
            help='The trained model, after the epoch with the smallest loss on the validation set.',
        )
        spec.output(
            'report',
            valid_type=orm.Dict,
            required=False,
            help='Learning curves, offsets, errors and the config of the trainer: the fields of `Training`.',
        )
        spec.exit_code(420, 'ERROR_TRAINING_FAILED', message='The training failed: {reason}', invalidates_cache=True)

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Write the job's input files."""
        calculator, links = self._link_models()
        write_job(self.inputs, calculator, Path(folder.abspath), **self._shared_fields())
        calculation = self._make_calc_info(contract.JOB_FILE, module='aiida_mlip_autopipe.training')
        calculation.remote_symlink_list = links
        files = (('checkpoint', START_CHECKPOINT_FILE), ('replay', REPLAY_FILE))
        calculation.local_copy_list = [
            (self.inputs[name].uuid, self.inputs[name].filename, file) for name, file in files if name in self.inputs
        ]
        calculation.retrieve_list.append(LOG_FILE)
        model = f'{MODEL_FILE}{TRAINERS.load(self.inputs.training["kind"]).suffix}'
        calculation.retrieve_temporary_list = [model, TRAINING_FILE, CHECKPOINT_FILE]
        return calculation


def _check_settings(node: orm.Dict, port: Any) -> str | None:
    """Refuse settings that the trainer refuses, and those of the model and of the run, which are other inputs."""
    settings = node.get_dict()
    if other := sorted((OF_THE_MODEL | OF_THE_RUN | OF_REPLAY) & settings.keys()):
        return f'training.{other[0]}: not an input of a job'
    try:
        TRAINERS.load(str(settings.get('kind'))).settings_class.of_job(settings)
    except ValidationError as error:
        return '; '.join(f'training.{".".join(map(str, one["loc"]))}: {one["msg"]}' for one in error.errors())
    except AutopipeError as error:
        return f'training.kind: {error}'
    return None


def _check_splits(inputs: Mapping[str, Any], namespace: Iterable[str]) -> str | None:
    """Refuse sets that do not match the dataset, and inputs that do not match the recipe."""
    recipe = inputs['training'].get_dict().get('recipe', 'naive') if 'training' in inputs else 'naive'
    if ('model' in inputs) == (recipe == 'scratch'):
        return f'model: {"must be left out for" if recipe == "scratch" else "is required by"} recipe {recipe}'
    if 'replay' in inputs and recipe != 'replay':
        return f'replay: must be left out for recipe {recipe}'
    if not {'dataset', 'splits'} <= set(inputs):
        return None
    splits, n_rows = inputs['splits'].get_list(), inputs['dataset'].base.attributes.get('n_structures')
    if len(splits) != n_rows:
        return f'splits: got a list of length {len(splits)}; must have one set for each row, {n_rows} in total'
    missing = [name for name in ('train', 'valid') if name not in splits]
    return f'splits: no row is in the set {missing[0]!r}' if missing else None
