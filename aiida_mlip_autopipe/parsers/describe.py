"""The parser of a description."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from aiida.engine import ExitCode

from aiida_mlip_autopipe.data.descriptors import node_from_features
from aiida_mlip_autopipe.description.contract import DESCRIPTORS_FILE
from aiida_mlip_autopipe.exploration import contract
from aiida_mlip_autopipe.parsers.job import JobParser, first_line


class DescriptionParser(JobParser):
    """Attaches the descriptors where all frames have one."""

    def attach(self, result: contract.Result, folder: Path) -> ExitCode | None:
        """Attach the descriptors of a job that was completed; half of them serve nobody."""
        if result.outcome != 'completed':
            return None
        path = folder / DESCRIPTORS_FILE
        if not path.is_file():
            return self.exit_codes.ERROR_TRAJECTORY_MISSING
        inputs = self.node.inputs
        legs = inputs.legs if 'legs' in inputs else {}
        n_rows = {label: len(leg.get_stepids()) for label, leg in sorted(legs.items())}
        n_expected = sum(n_rows.values()) if n_rows else len(inputs.given.get_array('n_atoms'))
        try:
            features = np.load(path)
            if len(features) != n_expected:
                raise ValueError(f'{len(features)} descriptors of {n_expected} frames')
        except Exception as error:  # whatever a torn file makes NumPy raise
            return self.exit_codes.ERROR_TRAJECTORY_UNREADABLE.format(reason=first_line(error))
        about = result.model_dump(mode='json', include={'calculator_name', 'model_name', 'model_sha256', 'statistics'})
        descriptor, species = inputs.descriptor.get_dict(), inputs.species.get_list()
        self.out('descriptors', node_from_features(features, n_rows, descriptor, species, about))
        return None
