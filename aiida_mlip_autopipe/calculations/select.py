"""A CalcJob that selects frames. With many frames, this takes minutes and would block a daemon worker."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from aiida import orm
from aiida.common.datastructures import CalcInfo
from aiida.common.folders import Folder
from aiida.engine import CalcJobProcessSpec

from aiida_mlip_autopipe.calculations import validators
from aiida_mlip_autopipe.calculations.job import CalculatorJob
from aiida_mlip_autopipe.calculations.model_link import MEMBER_MODELS
from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.data.selection import request_from_nodes
from aiida_mlip_autopipe.jobs import contract
from aiida_mlip_autopipe.sampling.contract import (
    FEATURES_FILE,
    REFERENCE_FOLDER,
    REPORT_FILE,
    SELECTION_FILE,
    TRAJECTORIES_FILE,
    DescribedBy,
    SelectionJob,
)
from aiida_mlip_autopipe.sampling.trajectories_file import write_features, write_trajectories


class SelectionCalculation(CalculatorJob):
    """Runs ``python -m aiida_mlip_autopipe.sampling job.json`` with the input ``code``.

    The job has the same inputs and outputs as the calcfunction `select_frames`, and the nodes have the same content.
    """

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:
        """Define inputs, outputs and exit codes."""
        super().define(spec)
        # A selection needs no calculator.
        del spec.inputs['calculator'], spec.inputs['model'], spec.inputs[MEMBER_MODELS]
        spec.input('settings', valid_type=orm.Dict, help="The config's `sampling` section without `reference_dataset`.")
        spec.input('random_seed', valid_type=orm.Int, help="The campaign's random seed.")
        spec.input('groups', valid_type=orm.Dict, help='The parent of each seed, by seed id.')
        spec.input('kinds', valid_type=orm.Dict, help='The kind of each seed, by seed id.')
        spec.input('labels', valid_type=orm.Dict, help='The label of the entry of each seed that has one, by seed id.')
        spec.input(
            'stage_version', valid_type=orm.Str, help='Version of this stage; increased when its results change.'
        )
        spec.input(
            'reference_dataset', valid_type=DatasetData, required=False, help='Structures that the dataset extends.'
        )
        spec.input_namespace('legs', valid_type=orm.TrajectoryData, help='The frames.')
        spec.input_namespace(
            'evaluations', valid_type=orm.ArrayData, required=False, help='The evaluations of a committee.'
        )
        spec.input_namespace(
            'descriptors', valid_type=orm.ArrayData, required=False, help='The descriptors that jobs computed.'
        )
        spec.input(
            'uncertainties', valid_type=orm.ArrayData, required=False, help='The disagreement of models on the frames.'
        )
        validators.set_validators(spec.inputs, validators.SELECTION, validators.selection)
        spec.inputs['metadata']['options']['parser_name'].default = 'mlip_autopipe.select'
        spec.output('selection', valid_type=orm.ArrayData, required=False, help='The selected frames, in order.')
        spec.output('report', valid_type=orm.Dict, required=False, help='Counts and coverage of the selection.')
        spec.exit_code(
            400,
            'ERROR_OUT_OF_WALLTIME',
            message='The job stopped before it selected the frames: {reason}',
            invalidates_cache=True,
        )
        spec.exit_code(401, 'ERROR_SAMPLING', message='The frames cannot be selected: {reason}', invalidates_cache=True)
        spec.exit_code(
            402, 'ERROR_SELECTION_UNREADABLE', message='The selection cannot be read: {reason}', invalidates_cache=True
        )

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Write the job's input files, and copy the reference dataset unchanged."""
        request = request_from_nodes(self.inputs)
        calculation = self._make_calc_info(contract.JOB_FILE, module='aiida_mlip_autopipe.sampling')
        reference = None
        if 'reference_dataset' in self.inputs:
            node = self.inputs.reference_dataset
            reference = str(PurePosixPath(REFERENCE_FOLDER, node.filename))
            calculation.local_copy_list = [(node.uuid, node.filename, reference)]
        job = SelectionJob(
            sampling_version=self.inputs.stage_version.value,
            sampling=self.inputs.settings.get_dict(),
            random_seed=request.random_seed,
            groups=dict(request.groups),
            kinds=dict(request.kinds),
            labels=dict(request.labels),
            seed_ids=tuple(one.seed_id for one in request.trajectories),
            described={
                key: DescribedBy(species=tuple(one.species), report=one.report)
                for key, one in request.described.items()
            },
            reference=reference,
            **self._shared_fields(),
        )
        Path(folder.get_abs_path(contract.JOB_FILE)).write_text(job.model_dump_json(indent=2))
        write_trajectories(Path(folder.get_abs_path(TRAJECTORIES_FILE)), request.trajectories)
        write_features(Path(folder.get_abs_path(FEATURES_FILE)), request.described)
        calculation.retrieve_temporary_list = [SELECTION_FILE, REPORT_FILE]
        return calculation
