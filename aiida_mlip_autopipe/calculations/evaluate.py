"""A CalcJob that evaluates the frames of one leg with a second calculator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from aiida import orm
from aiida.common.datastructures import CalcInfo
from aiida.common.folders import Folder
from aiida.engine import CalcJobProcessSpec

from aiida_mlip_autopipe.calculations.job import CalculatorJob
from aiida_mlip_autopipe.data.evaluation import frames_to_evaluate
from aiida_mlip_autopipe.data.seed import SeedData
from aiida_mlip_autopipe.jobs import contract
from aiida_mlip_autopipe.labelling.contract import LABELS_FILE, STRUCTURES_FILE, LabellingJob
from aiida_mlip_autopipe.structures.structures_file import structure_arrays


class EvaluationCalculation(CalculatorJob):
    """Runs ``python -m aiida_mlip_autopipe.labelling job.json`` with the input ``code``."""

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:
        """Define inputs, outputs and exit codes."""
        super().define(spec)
        spec.input('trajectory', valid_type=orm.TrajectoryData, help='The frames of a leg.')
        spec.input('seed', valid_type=SeedData, help='The seed of the leg, with its tags, moments and constraints.')
        spec.input(
            'evaluation_version', valid_type=orm.Str, help='Version of the method; increased when its results change.'
        )
        spec.inputs['metadata']['options']['parser_name'].default = 'mlip_autopipe.evaluate'
        spec.output(
            'evaluation',
            valid_type=orm.ArrayData,
            required=False,
            help='For each frame, the energy and forces of the second calculator, and its disagreement with the first.',
        )
        spec.exit_code(
            400,
            'ERROR_OUT_OF_WALLTIME',
            message='The job stopped before its last frame; the evaluated frames are attached.',
            invalidates_cache=True,
        )
        spec.exit_code(411, 'ERROR_NO_FRAME', message='No frame could be evaluated: {reason}')

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Write the job's input files."""
        calculator, links = self._link_models()
        job = LabellingJob(
            labelling_version=self.inputs.evaluation_version.value,
            calculator=calculator,
            with_stress=False,
            **self._shared_fields(),
        )
        Path(folder.get_abs_path(contract.JOB_FILE)).write_text(job.model_dump_json(indent=2))
        arrays = structure_arrays(frames_to_evaluate(self.inputs.trajectory, self.inputs.seed))
        np.savez(folder.get_abs_path(STRUCTURES_FILE), **arrays)  # type: ignore[arg-type]
        calculation = self._make_calc_info(contract.JOB_FILE, module='aiida_mlip_autopipe.labelling')
        calculation.remote_symlink_list = links
        calculation.retrieve_temporary_list = [LABELS_FILE]
        return calculation
