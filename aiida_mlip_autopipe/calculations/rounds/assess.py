"""A CalcJob that assesses a model: what it predicts for frames and dimers, and whether hot dynamics is stable."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from aiida import orm
from aiida.common.datastructures import CalcInfo
from aiida.common.folders import Folder
from aiida.engine import CalcJobProcessSpec
from ase.io.trajectory import TrajectoryWriter
from pydantic import Field

from aiida_mlip_autopipe.assessment.contract import UNFINISHED, AssessmentJob, hot_run_folder
from aiida_mlip_autopipe.calculations import validators
from aiida_mlip_autopipe.calculations.explore import make_job_seed
from aiida_mlip_autopipe.calculations.job import CalculatorJob
from aiida_mlip_autopipe.core.randomness import derive_random_seed
from aiida_mlip_autopipe.data.assessment import frames_to_assess, other_structures
from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.data.seed import SeedData
from aiida_mlip_autopipe.exploration import ExplorationSettings
from aiida_mlip_autopipe.jobs import contract
from aiida_mlip_autopipe.labelling.contract import STRUCTURES_FILE
from aiida_mlip_autopipe.structures.structures_file import structure_arrays

TOGETHER = (('dataset', 'rows'), ('legs', 'seeds'), ('hot_seeds', 'hot_runs', 'random_seed'))
"""Inputs that must be provided together."""
WORK = ('dataset', 'legs', 'elements', 'other_chemistry', 'hot_seeds')
"""Inputs of which at least one is needed."""


class AssessmentCalculation(CalculatorJob):
    """Runs ``python -m aiida_mlip_autopipe.assessment job.json`` with the input ``code``."""

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:
        """Define inputs, outputs and exit codes."""
        super().define(spec)
        spec.input('dataset', valid_type=DatasetData, required=False, help='A dataset with frames to evaluate.')
        spec.input('rows', valid_type=orm.List, required=False, help='Indices of these frames in the dataset.')
        spec.input_namespace('legs', valid_type=orm.TrajectoryData, required=False, help='Explored frames to evaluate.')
        spec.input_namespace('seeds', valid_type=SeedData, required=False, help='The seeds of the legs.')
        spec.input(
            'other_chemistry',
            valid_type=DatasetData,
            required=False,
            help='Structures of other chemical systems, on which a model is compared with the starting model.',
        )
        spec.input(
            'elements',
            valid_type=orm.List,
            required=False,
            help='Symbols of elements; the energy of each pair is computed as a function of the distance.',
        )
        spec.input_namespace('hot_seeds', valid_type=SeedData, required=False, help='The seeds of the hot runs.')
        spec.input(
            'hot_runs',
            valid_type=orm.Dict,
            required=False,
            help='Settings of the hot runs: those of an exploration by molecular dynamics, with one temperature.',
        )
        spec.input('random_seed', valid_type=orm.Int, required=False, help='Random seed of the hot runs.')
        spec.input(
            'assessment_version', valid_type=orm.Str, help='Version of the method; increased when its results change.'
        )
        spec.input('unfinished', valid_type=orm.FolderData, required=False, help='The files of a job that was stopped.')
        validators.set_validators(
            spec.inputs,
            {
                'hot_runs': _check_hot_runs,
                'random_seed': validators.validate_as('random_seed', Annotated[int, Field(ge=0)]),
                'elements': validators.validate_as('elements', Annotated[list[str], Field(min_length=1)]),
            },
            _check_inputs,
        )
        spec.inputs['metadata']['options']['parser_name'].default = 'mlip_autopipe.assess'
        spec.output('assessment', valid_type=orm.ArrayData, required=False, help='What the model predicts.')
        spec.output(
            'unfinished', valid_type=orm.FolderData, required=False, help='The files from which a job continues.'
        )
        for status, label, message in (
            (400, 'ERROR_OUT_OF_WALLTIME', 'The job stopped before its end; the files to continue it are attached.'),
            (401, 'ERROR_KILLED', 'The job was killed; the files to continue it are attached.'),
        ):
            spec.exit_code(status, label, message=message, invalidates_cache=True)

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Write the job's input files."""
        calculator, links = self._link_models()
        write_job(self.inputs, calculator, Path(folder.abspath), **self._shared_fields())
        calculation = self._make_calc_info(contract.JOB_FILE, module='aiida_mlip_autopipe.assessment')
        calculation.remote_symlink_list = links
        if 'unfinished' in self.inputs:
            node = self.inputs.unfinished
            names = node.base.repository.list_object_names()
            calculation.local_copy_list = [(node.uuid, name, name) for name in UNFINISHED if name in names]
        calculation.retrieve_temporary_list = list(UNFINISHED)
        return calculation


def write_job(inputs: Mapping[str, Any], calculator: dict[str, Any], folder: Path, **fields: Any) -> None:
    """Write ``job.json``, the structures and the seeds to the folder of a job.

    Parameters
    ----------
    inputs
        The inputs of an `AssessmentCalculation`.
    calculator
        Settings of the calculator, with its models.
    folder
        The folder.
    fields
        Fields of ``job.json`` that do not follow from these inputs.
    """
    seeds = sorted((node.to_seed() for node in inputs.get('hot_seeds', {}).values()), key=lambda seed: seed.seed_id)
    random_seed = inputs['random_seed'].value if seeds else 0
    for number, seed in enumerate(seeds):
        (folder / hot_run_folder(number)).mkdir()
        with TrajectoryWriter(str(folder / hot_run_folder(number) / contract.SEED_FILE)) as file:
            file.write(seed.atoms)
    job = AssessmentJob(
        assessment_version=inputs['assessment_version'].value,
        calculator=calculator,
        elements=tuple(inputs['elements'].get_list()) if 'elements' in inputs else (),
        # All models are compared with the same velocities and random forces.
        seeds=tuple(make_job_seed(one, derive_random_seed(random_seed, 'hot run', one.seed_id)) for one in seeds),
        hot_runs=inputs['hot_runs'].get_dict() if 'hot_runs' in inputs else {},
        **fields,
    )
    (folder / contract.JOB_FILE).write_text(job.model_dump_json(indent=2))
    arrays = structure_arrays(frames_to_assess(inputs) + other_structures(inputs))
    np.savez(folder / STRUCTURES_FILE, **arrays)  # type: ignore[arg-type]


def _check_hot_runs(node: orm.Dict, port: Any) -> str | None:
    """Refuse settings that are not those of dynamics at one temperature and pressure, or that stop or bias a run."""
    settings = node.get_dict()
    if settings.get('kind', 'dynamics') != 'dynamics':
        return f"hot_runs.kind: got {settings['kind']!r}; must be 'dynamics'"
    faults = validators.validate_as('hot_runs', ExplorationSettings)(node, port)
    if faults is not None:
        return faults
    found = [f'hot_runs.{name}: is not possible in a hot run' for name in ('novelty', 'bias') if settings.get(name)]
    read = ExplorationSettings.model_validate(settings)
    found += [
        f'hot_runs.{name}: got {settings[name]}; must be a single value'
        for name in ('temperature_K', 'pressure_GPa')
        if not isinstance(getattr(read, name), float)
    ]
    return '\n'.join(found) or None


def _check_inputs(inputs: Mapping[str, Any], namespace: Iterable[str]) -> str | None:
    """Refuse incomplete inputs, rows that the dataset does not have, and legs without their seeds."""
    # A namespace without nodes counts as missing.
    provided = {name for name in namespace if name in inputs and inputs[name] != {}}
    found = [
        f'{name}: is missing; {", ".join(names)} must be provided together'
        for names in TOGETHER
        if provided & set(names)
        for name in names
        if name not in provided
    ]
    if not provided & set(WORK):
        found.append(f'nothing to assess; provide at least one of {", ".join(WORK)}')
    if {'dataset', 'rows'} <= provided:
        n_structures = inputs['dataset'].base.attributes.get('n_structures')
        wrong = [row for row in inputs['rows'].get_list() if not (isinstance(row, int) and 0 <= row < n_structures)]
        found += [f'rows: got {row!r}; must be an index from 0 to {n_structures - 1}' for row in wrong[:1]]
    known = {seed.seed_id for seed in inputs.get('seeds', {}).values()}
    explored = {leg.base.attributes.get('seed_id') for leg in inputs.get('legs', {}).values()}
    if 'seeds' in provided and (missing := sorted(explored - known)):
        found.append(f'seeds: the seed {missing[0]} of a leg is missing')
    return '\n'.join(found) or None
