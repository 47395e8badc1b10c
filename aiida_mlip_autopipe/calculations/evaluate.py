"""A CalcJob that evaluates the frames of one leg with a second calculator."""

from __future__ import annotations

from pathlib import Path

from aiida import orm
from aiida.common.datastructures import CalcInfo
from aiida.common.folders import Folder
from aiida.engine import CalcJobProcessSpec

from aiida_mlip_autopipe.calculations.job import CalculatorJob
from aiida_mlip_autopipe.data.seed import SeedData
from aiida_mlip_autopipe.data.trajectory import trajectory_from_node
from aiida_mlip_autopipe.exploration.files.trajectory_file import write_trajectory
from aiida_mlip_autopipe.jobs import contract


class EvaluationCalculation(CalculatorJob):
    """Runs ``python -m aiida_mlip_autopipe.exploration --evaluate job.json`` with the input ``code``."""

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
        trajectory = trajectory_from_node(self.inputs.trajectory)
        job = contract.EvaluationJob(
            evaluation_version=self.inputs.evaluation_version.value,
            seed_id=trajectory.seed_id,
            calculator=calculator,
            **self._shared_fields(),
        )
        Path(folder.get_abs_path(contract.JOB_FILE)).write_text(job.model_dump_json(indent=2))
        template = self.inputs.seed.to_seed().atoms
        write_trajectory(folder.get_abs_path(contract.TRAJECTORY_FILE), trajectory, template)
        calculation = self._make_calc_info('--evaluate', contract.JOB_FILE)
        calculation.remote_symlink_list = links
        calculation.retrieve_temporary_list = [contract.EVALUATION_FILE]
        return calculation
