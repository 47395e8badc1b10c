"""CalcJobs that retrieve what killed jobs left in their folders."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from aiida import orm
from aiida.common.datastructures import CalcInfo
from aiida.common.folders import Folder
from aiida.engine import CalcJobProcessSpec

from aiida_mlip_autopipe.calculations.explore import ExplorationCalculation
from aiida_mlip_autopipe.calculations.job import CalculatorJob
from aiida_mlip_autopipe.calculations.labelling.label import LabellingCalculation
from aiida_mlip_autopipe.jobs import contract
from aiida_mlip_autopipe.labelling.contract import LABELS_FILE


class RecoverCalculation(ExplorationCalculation):
    """Retrieves the files of an exploration job that was killed or excepted, without computing anything.

    AiiDA retrieves nothing from such a job, and never takes it from the cache. This job has the same inputs, and the
    folder of the killed job. It is not submitted to a scheduler: the files are retrieved from that folder directly. Its
    outputs and exit codes are those that the killed job would have had, so an exploration takes it as a leg.
    """

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:
        """Define the input for the folder."""
        super().define(spec)
        spec.input('parent_folder', valid_type=orm.RemoteData, help='The folder of the killed job.')
        spec.inputs['metadata']['options']['parser_name'].default = 'mlip_autopipe.recover'

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Write ``job.json``, with which the parser compares the files, and list the files to retrieve."""
        calculation = super().prepare_for_submission(folder)
        files = (contract.TRAJECTORY_FILE, contract.CHECKPOINT_FILE, contract.CRASH_FILE)
        _retrieve_only(calculation, self.inputs.parent_folder, files)
        return calculation


class RecoverLabelsCalculation(LabellingCalculation):
    """Retrieves the labels of a labelling job that was killed or excepted, without computing anything.

    See `RecoverCalculation`. The key of each label is determined by the structure and the level of theory, so labels of
    other structures are ignored.
    """

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:
        """Define the input for the folder."""
        super().define(spec)
        spec.input('parent_folder', valid_type=orm.RemoteData, help='The folder of the killed job.')

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Write the input files of the killed job, and list the files to retrieve."""
        calculation = super().prepare_for_submission(folder)
        _retrieve_only(calculation, self.inputs.parent_folder, (LABELS_FILE,))
        return calculation


def _retrieve_only(calculation: CalcInfo, folder: orm.RemoteData, files: Iterable[str]) -> None:
    """Make a job run nothing, and retrieve its result, its log and other files from the folder of another job."""
    calculation.skip_submit = True
    calculation.codes_info = []
    calculation.local_copy_list, calculation.remote_symlink_list = [], []
    source = PurePosixPath(folder.get_remote_path())
    calculation.retrieve_list = [
        (str(source / name), '.', 1) for name in (contract.RESULT_FILE, CalculatorJob.LOG_FILE)
    ]
    # The number of parts of a path, so that a file in a subfolder remains there.
    calculation.retrieve_temporary_list = [(str(source / name), '.', len(Path(name).parts)) for name in files]


LEG_JOBS = [ExplorationCalculation, RecoverCalculation]
"""The jobs that make legs. A query of AiiDA 2.9 for a process does not find its subclasses."""
