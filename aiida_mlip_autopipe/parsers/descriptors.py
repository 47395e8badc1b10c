"""The parser of a descriptor job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aiida import orm
from aiida.engine import ExitCode

from aiida_mlip_autopipe.core.errors import first_line
from aiida_mlip_autopipe.core.reading.arrays import read_npy, require_array
from aiida_mlip_autopipe.data.descriptors import node_from_features
from aiida_mlip_autopipe.data.trajectory import sort_trajectories, trajectory_id
from aiida_mlip_autopipe.descriptors.contract import DESCRIPTORS_FILE
from aiida_mlip_autopipe.descriptors.describe import Of
from aiida_mlip_autopipe.jobs import contract
from aiida_mlip_autopipe.parsers.job import JobParser


class DescriptorsParser(JobParser):
    """Attaches the descriptors if they are complete."""

    def attach(self, result: contract.Result, folder: Path) -> ExitCode | None:
        """Attach the descriptors of a completed job; incomplete descriptors are useless."""
        if result.outcome != 'completed':
            return None
        path = folder / DESCRIPTORS_FILE
        if not path.is_file():
            return self.exit_codes.ERROR_TRAJECTORY_MISSING
        inputs = self.node.inputs
        n_rows = {trajectory_id(leg): _count_rows(leg, inputs) for leg in _legs(inputs)}
        n_expected = sum(n_rows.values()) if n_rows else _count_reference_rows(inputs)
        try:
            features = require_array(
                {'descriptors': read_npy(path)}, 'descriptors', 'float', n_expected, None, finite=True
            )
        except (OSError, ValueError) as error:
            return self.exit_codes.ERROR_TRAJECTORY_UNREADABLE.format(reason=first_line(error))
        about = result.model_dump(mode='json', include={'calculator_name', 'model_name', 'model_sha256', 'statistics'})
        request: dict[str, Any] = {'of': _target(inputs), 'descriptor': inputs.descriptor.get_dict()}
        self.out('descriptors', node_from_features(features, n_rows, request, inputs.species.get_list(), about))
        return None


def _target(inputs: Any) -> Of:
    return 'environments' if 'pca' in inputs else 'structures'


def _legs(inputs: Any) -> list[orm.TrajectoryData]:
    return sort_trajectories(inputs.legs.values()) if 'legs' in inputs else []


def _count_rows(leg: orm.TrajectoryData, inputs: Any) -> int:
    n_frames, n_atoms, _ = leg.get_shape('positions')
    return int(n_frames * n_atoms if _target(inputs) == 'environments' else n_frames)


def _count_reference_rows(inputs: Any) -> int:
    name = 'n_atoms' if _target(inputs) == 'environments' else 'n_structures'
    return int(inputs.reference_dataset.base.attributes.get(name))
