"""A CalcJob that labels structures of a dataset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from aiida import orm
from aiida.common.datastructures import CalcInfo
from aiida.common.folders import Folder
from aiida.engine import CalcJobProcessSpec
from ase import Atoms

from aiida_mlip_autopipe.calculations import validators
from aiida_mlip_autopipe.calculations.job import CalculatorJob
from aiida_mlip_autopipe.data.dataset import DatasetData, structures_in
from aiida_mlip_autopipe.data.labels import LabelsData
from aiida_mlip_autopipe.jobs import contract
from aiida_mlip_autopipe.labelling.contract import LABELS_FILE, STRUCTURES_FILE, LabellingJob, LabellingRequest
from aiida_mlip_autopipe.structures.rows.level import LevelOfTheory
from aiida_mlip_autopipe.structures.structures_file import structure_arrays


def write_job(
    inputs: Mapping[str, Any], structures: Sequence[Atoms], calculator: dict[str, Any], folder: Path, **fields: Any
) -> None:
    """Write ``job.json`` and the structures to the folder of a job.

    Parameters
    ----------
    inputs
        The inputs of a `LabellingCalculation`.
    structures
        The structures to label.
    calculator
        Settings of the calculator, with its models.
    folder
        The folder.
    fields
        Fields of ``job.json`` that do not follow from these inputs, or that replace those that do.
    """
    content = {
        'labelling_version': inputs['labelling_version'].value,
        'calculator': calculator,
        'level_hash': LevelOfTheory.model_validate(inputs['level'].get_dict()).hash,
        **inputs['request'].get_dict(),
    }
    job = LabellingJob.model_validate(content | fields)
    (folder / contract.JOB_FILE).write_text(job.model_dump_json(indent=2))
    np.savez(folder / STRUCTURES_FILE, **structure_arrays(structures))  # type: ignore[arg-type]


class LabellingCalculation(CalculatorJob):
    """Runs ``python -m aiida_mlip_autopipe.labelling job.json`` with the input ``code``."""

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:
        """Define inputs, outputs and exit codes."""
        super().define(spec)
        spec.input('dataset', valid_type=DatasetData, help='The dataset with the structures.')
        spec.input('rows', valid_type=orm.List, help='Indices in the dataset of the structures to label; may be empty.')
        spec.input(
            'request',
            valid_type=orm.Dict,
            help='The energy, the time limit, the isolated atoms and the variant: the fields of `LabellingRequest`.',
        )
        spec.input('level', valid_type=orm.Dict, help='The level of theory: the fields of `LevelOfTheory`.')
        spec.input(
            'labelling_version', valid_type=orm.Str, help='Version of the method; increased when its results change.'
        )
        validators.set_validators(
            spec.inputs,
            {
                'request': validators.validate_as('request', LabellingRequest),
                'level': validators.validate_as('level', LevelOfTheory),
            },
            _check_rows,
        )
        spec.inputs['metadata']['options']['parser_name'].default = 'mlip_autopipe.label'
        spec.output(
            'labels',
            valid_type=LabelsData,
            required=False,
            help='The labels, and the failures, of those structures that the job has finished.',
        )
        for status, label, message in (
            (
                400,
                'ERROR_OUT_OF_WALLTIME',
                'The job stopped before its last structure; the finished labels are attached.',
            ),
            (401, 'ERROR_KILLED', 'The job was killed; the structures that it had finished are attached.'),
        ):
            spec.exit_code(status, label, message=message, invalidates_cache=True)
        spec.exit_code(
            411, 'ERROR_NO_FRAME', message='No structure could be labelled; the failures are attached: {reason}'
        )

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Write the job's input files."""
        calculator, links = self._link_models()
        structures = structures_in(self.inputs.dataset, self.inputs.rows.get_list())
        write_job(self.inputs, structures, calculator, Path(folder.abspath), **self._shared_fields())
        calculation = self._make_calc_info(contract.JOB_FILE, module='aiida_mlip_autopipe.labelling')
        calculation.remote_symlink_list = links
        calculation.retrieve_temporary_list = [LABELS_FILE]
        return calculation


def _check_rows(inputs: Mapping[str, Any], namespace: Iterable[str]) -> str | None:
    """Refuse indices that the dataset does not have, and a job that has nothing to compute."""
    if not {'dataset', 'rows', 'request'} <= set(inputs):
        return None
    rows, n_structures = inputs['rows'].get_list(), inputs['dataset'].base.attributes.get('n_structures')
    if not rows and not inputs['request'].get_dict().get('isolated_atoms'):
        return 'rows: empty, and no isolated atoms are requested'
    wrong = [row for row in rows if not (isinstance(row, int) and 0 <= row < n_structures)]
    return f'rows: got {wrong[0]!r}; must be an index from 0 to {n_structures - 1}' if wrong else None
