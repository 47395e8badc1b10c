"""A calcfunction that makes the structures for replay."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO, StringIO

from aiida import orm
from aiida.engine import ExitCode, calcfunction
from ase import Atoms
from ase.io import write

from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.training import replay
from aiida_mlip_autopipe.training.contract import REPLAY_FILE

ERROR_REPLAY = 400


def replay_node(structures: Sequence[Atoms]) -> orm.SinglefileData:
    """Return structures as a file in extended XYZ."""
    text = StringIO()
    write(text, list(structures), format='extxyz')
    return orm.SinglefileData(BytesIO(text.getvalue().encode()), filename=REPLAY_FILE)


@calcfunction
def make_replay_structures(
    elements: orm.List, supported: orm.List, n_structures: orm.Int, random_seed: orm.Int, stage_version: orm.Str
) -> orm.SinglefileData | ExitCode:
    """Make structures of chemical systems that share elements with a dataset; see `replay_structures`.

    Parameters
    ----------
    elements
        The elements of the dataset.
    supported
        The elements that the model supports; empty if they are unknown.
    n_structures
        Number of structures.
    random_seed
        Random seed.
    stage_version
        Version of this function; increased when its results change.
    """
    known = supported.get_list() or None
    try:
        made = replay.replay_structures(elements.get_list(), n_structures.value, random_seed.value, known)
    except AutopipeError as error:
        return ExitCode(ERROR_REPLAY, str(error), invalidates_cache=True)
    return replay_node(made)
