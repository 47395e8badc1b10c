"""A CalcJob that explores one seed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiida import orm
from aiida.common.datastructures import CalcInfo
from aiida.common.folders import Folder
from aiida.engine import CalcJobProcessSpec

from aiida_mlip_autopipe.calculations import validators
from aiida_mlip_autopipe.calculations.job import CheckpointedJob
from aiida_mlip_autopipe.core.randomness import derive_random_seed
from aiida_mlip_autopipe.data.seed import SeedData
from aiida_mlip_autopipe.exploration import AnyExploration, ExplorationSettings, read_exploration
from aiida_mlip_autopipe.exploration.settings.job_settings import WRITING, join_settings, split_settings
from aiida_mlip_autopipe.jobs import contract
from aiida_mlip_autopipe.structures.seed import Seed, is_amorphous


def entry_key(number: int) -> str:
    """Return the key of an entry of ``generation`` in a namespace of inputs."""
    return f'entry_{number}'


def exploration_inputs(settings: AnyExploration, *, with_intervals: bool = True) -> dict[str, Any]:
    """Return settings as inputs of a job.

    Parameters
    ----------
    settings
        The settings of the exploration.
    with_intervals
        Whether to also return the settings that determine how often files are written. They are plain values; the
        others are nodes.
    """
    content, n_steps, writing = split_settings(settings)
    provided = {name: value for name, value in writing.items() if value is not None and with_intervals}
    return {'exploration': orm.Dict(content), 'n_steps': orm.Int(n_steps), **provided}


def read_settings(inputs: Mapping[str, Any]) -> AnyExploration:
    """Return the settings from the inputs of a job; output intervals keep their defaults."""
    return read_exploration(join_settings(inputs['exploration'].get_dict(), inputs['n_steps'].value))


def make_job_seed(seed: Seed, random_seed: int) -> contract.JobSeed:
    """Return the description of a seed in ``job.json``.

    Parameters
    ----------
    seed
        The seed.
    random_seed
        The random seed of its run.
    """
    return contract.JobSeed(
        seed_id=seed.seed_id,
        random_seed=random_seed,
        perturbed='perturbation' in seed.record,
        form=seed.record.get('form'),
        molecular=seed.record.get('molecular', False),
        amorphous=is_amorphous(seed.record),
    )


def write_job(inputs: Mapping[str, Any], calculator: dict[str, Any], folder: Path, **fields: Any) -> None:
    """Write ``job.json`` and the structure of the seed to the folder of a job.

    Parameters
    ----------
    inputs
        The inputs of an `ExplorationCalculation`.
    calculator
        Settings of the calculator, with its models.
    folder
        The folder.
    fields
        Fields of ``job.json`` that do not follow from these inputs, or that replace those that do.
    """
    from ase.io.trajectory import Trajectory as TrajectoryFile

    seed = inputs['seed'].to_seed()
    content = {
        'runner_version': inputs['runner_version'].value,
        'seeds': (make_job_seed(seed, derive_random_seed(inputs['random_seed'].value, 'exploration', seed.seed_id)),),
        'calculator': calculator,
        'exploration': join_settings(
            inputs['exploration'].get_dict(),
            inputs['n_steps'].value,
            {name: inputs[name] for name in WRITING if name in inputs},
        ),
        'full_trajectory_interval': (
            inputs['full_trajectory_interval'].value if 'full_trajectory_interval' in inputs else None
        ),
        'reference_sha256': (
            hashlib.sha256(inputs['reference_environments'].get_content(mode='rb')).hexdigest()
            if 'reference_environments' in inputs
            else None
        ),
        'recoveries': inputs['recoveries'].value if 'recoveries' in inputs else 0,
    }
    job = contract.Job.model_validate(content | fields)
    (folder / contract.JOB_FILE).write_text(job.model_dump_json(indent=2))
    with TrajectoryFile(str(folder / contract.SEED_FILE), mode='w') as file:
        file.write(seed.atoms)


class ExplorationCalculation(CheckpointedJob):
    """Runs ``python -m aiida_mlip_autopipe.exploration job.json`` with the input ``code``."""

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:
        """Define inputs, outputs and exit codes."""
        super().define(spec)
        spec.input('seed', valid_type=SeedData, help='The seed to explore.')
        spec.input(
            'exploration',
            valid_type=orm.Dict,
            help='Settings without the number of steps of the run. '
            'The last phase has a number of steps only if it is a ramp.',
        )
        spec.input('n_steps', valid_type=orm.Int, help='Number of steps of the run.')
        spec.input(
            'checkpoint_interval',
            valid_type=int,
            is_metadata=True,
            default=ExplorationSettings().checkpoint_interval,
            help='Number of steps between checkpoints.',
        )
        spec.input(
            'walltime_margin_s',
            valid_type=float,
            is_metadata=True,
            required=False,
            help='How many seconds before its wall-time limit the job stops.',
        )
        spec.input('random_seed', valid_type=orm.Int, help="The campaign's random seed.")
        spec.input(
            'runner_version', valid_type=orm.Str, help='Version of the runner; increased when its results change.'
        )
        spec.input(
            'full_trajectory_interval',
            valid_type=orm.Int,
            required=False,
            help="Number of steps between frames of the full trajectory, which remains in the job's folder.",
        )
        spec.input(
            'reference_environments',
            valid_type=orm.SinglefileData,
            required=False,
            help='The environments of the reference dataset, which those of the run are compared with.',
        )
        spec.input(
            'recoveries', valid_type=orm.Int, required=False, help='Number of recoveries of an unstable run so far.'
        )
        validators.set_validators(spec.inputs, validators.EXPLORATION, validators.exploration(of_one_seed=True))
        spec.inputs['metadata']['options']['parser_name'].default = 'mlip_autopipe.explore'

        spec.output('trajectory', valid_type=orm.TrajectoryData, required=False, help='The good frames of this leg.')
        spec.output(
            'crash', valid_type=orm.SinglefileData, required=False, help='Frames around the event that stopped the run.'
        )

        for status, label, message in (
            (401, 'ERROR_KILLED', 'The job was killed; its last checkpoint and the frames before it are attached.'),
            (410, 'ERROR_UNSTABLE', 'A guard stopped the run; the good frames are attached: {reason}'),
            (411, 'ERROR_NO_FRAME', 'The run has no good frame: {reason}'),
        ):
            spec.exit_code(status, label, message=message)

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Write the job's input files."""
        calculator, links = self._link_models()
        write_job(self.inputs, calculator, Path(folder.abspath), **self._shared_fields())
        calculation = self._make_calc_info(contract.JOB_FILE)
        calculation.local_copy_list = []
        calculation.remote_symlink_list = links
        # The parser stores their content as nodes. Keeping the files too would double the size of the repository.
        calculation.retrieve_temporary_list = [
            contract.TRAJECTORY_FILE,
            contract.CHECKPOINT_FILE,
            # This form keeps the subfolder.
            (contract.CRASH_FILE, '.', len(Path(contract.CRASH_FILE).parts)),
        ]
        for name, file in (('checkpoint', contract.START_FILE), ('reference_environments', contract.REFERENCE_FILE)):
            if name in self.inputs:
                node = self.inputs[name]
                calculation.local_copy_list.append((node.uuid, node.filename, file))
        return calculation
