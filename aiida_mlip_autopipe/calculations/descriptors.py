"""A CalcJob that computes the descriptors of the frames of many legs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from aiida import orm
from aiida.common.datastructures import CalcInfo
from aiida.common.folders import Folder
from aiida.engine import CalcJobProcessSpec

from aiida_mlip_autopipe.calculations import validators
from aiida_mlip_autopipe.calculations.job import CalculatorJob
from aiida_mlip_autopipe.calculations.model_link import RemoteLink
from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.data.trajectory import sort_trajectories, trajectories_from_nodes
from aiida_mlip_autopipe.descriptors.contract import (
    DESCRIPTORS_FILE,
    PCA_FILE,
    STRUCTURES_FILE,
    DescriptorsJob,
)
from aiida_mlip_autopipe.jobs import contract
from aiida_mlip_autopipe.structures.structures_file import structure_arrays, write_structures


class DescriptorsCalculation(CalculatorJob):
    """Runs ``python -m aiida_mlip_autopipe.descriptors job.json`` with the input ``code``."""

    @classmethod
    def define(cls, spec: CalcJobProcessSpec) -> None:
        """Define inputs, outputs and exit codes."""
        super().define(spec)
        spec.input_namespace('legs', valid_type=orm.TrajectoryData, help='The frames to describe.')
        spec.input(
            'reference_dataset',
            valid_type=DatasetData,
            required=False,
            help='Structures to describe instead of the frames.',
        )
        spec.input('descriptor', valid_type=orm.Dict, help='Settings of the descriptor.')
        spec.input(
            'pca',
            valid_type=orm.ArrayData,
            required=False,
            help='Principal components. If provided, the job describes each atom and projects the result onto them.',
        )
        spec.input('species', valid_type=orm.List, help='Atomic numbers that the descriptor covers.')
        spec.input(
            'descriptors_version', valid_type=orm.Str, help='Version of the method; increased when its results change.'
        )
        # Only learned descriptors need a calculator.
        spec.inputs['calculator'].required = False
        validators.set_validators(spec.inputs, validators.DESCRIPTORS, validators.descriptors_job)
        spec.inputs['metadata']['options']['parser_name'].default = 'mlip_autopipe.descriptors'
        spec.output(
            'descriptors',
            valid_type=orm.ArrayData,
            required=False,
            help='`features`: a vector for each frame, ordered by trajectory, or for each reference structure. '
            'With `pca`, a vector for each atom instead.',
        )
        spec.exit_code(
            400,
            'ERROR_OUT_OF_WALLTIME',
            message='The job stopped before its last frame: {reason}',
            invalidates_cache=True,
        )

    def prepare_for_submission(self, folder: Folder) -> CalcInfo:
        """Write the job's input files."""
        calculator: dict[str, Any] | None = None
        links: list[RemoteLink] = []
        if 'calculator' in self.inputs:
            calculator, links = self._link_models()
        job = DescriptorsJob(
            descriptors_version=self.inputs.descriptors_version.value,
            descriptor=self.inputs.descriptor.get_dict(),
            species=tuple(self.inputs.species.get_list()),
            calculator=calculator,
            pca=PCA_FILE if 'pca' in self.inputs else None,
            **self._shared_fields(),
        )
        Path(folder.get_abs_path(contract.JOB_FILE)).write_text(job.model_dump_json(indent=2))
        structures_file = folder.get_abs_path(STRUCTURES_FILE)
        if 'reference_dataset' in self.inputs:
            np.savez(structures_file, **structure_arrays(self.inputs.reference_dataset.structures()))  # type: ignore[arg-type]
        else:
            legs = trajectories_from_nodes(sort_trajectories(self.inputs.legs.values()))
            write_structures(structures_file, legs)
        if 'pca' in self.inputs:
            pca_file = folder.get_abs_path(PCA_FILE)
            np.savez(pca_file, **dict(self.inputs.pca.get_iterarrays()))
        calculation = self._make_calc_info(contract.JOB_FILE, module='aiida_mlip_autopipe.descriptors')
        calculation.remote_symlink_list = links
        calculation.retrieve_temporary_list = [DESCRIPTORS_FILE]
        return calculation
