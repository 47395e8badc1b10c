"""A calcfunction that makes the structures on which the drift of models is measured."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from aiida import orm
from aiida.engine import ExitCode, calcfunction
from ase.io import write

from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.training.replay import drift_structures

ERROR_STRUCTURES = 400


@calcfunction
def make_drift_structures(
    elements: orm.List,
    n_structures: orm.Int,
    random_seed: orm.Int,
    stage_version: orm.Str,
    supported: orm.List | None = None,
) -> DatasetData | ExitCode:
    """Make structures of other chemical systems, for the input ``other_chemistry`` of an assessment.

    Parameters
    ----------
    elements
        The elements of the dataset.
    n_structures
        Number of structures.
    random_seed
        The campaign's random seed.
    stage_version
        Version of the structures (``REPLAY_VERSION`` in ``training.replay``); increased when they change.
    supported
        The elements that the starting model supports; by default, all.
    """
    try:
        structures = drift_structures(
            elements.get_list(),
            n_structures.value,
            random_seed.value,
            None if supported is None else supported.get_list(),
        )
        with TemporaryDirectory() as folder:
            # This format keeps all digits.
            path = Path(folder, 'drift.traj')
            write(path, structures)
            return DatasetData.from_file(path)
    except AutopipeError as error:
        return ExitCode(ERROR_STRUCTURES, str(error), invalidates_cache=True)
