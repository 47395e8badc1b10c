"""Write seeds to an extended XYZ file. Each structure contains the record of its seed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

from ase.io.extxyz import write_xyz

from aiida_mlip_autopipe.generation.base import GeneratorSettings
from aiida_mlip_autopipe.generation.parallel import iterate_seeds_in_processes
from aiida_mlip_autopipe.generation.report import Rejections
from aiida_mlip_autopipe.structures.seed import Seed


def write_seeds(
    path: Path,
    entries: Sequence[GeneratorSettings],
    *,
    random_seed: int,
    cutoff_A: float,
    processes: int,
    on_progress: Callable[[int], None] = lambda n_done: None,
) -> dict[str, Any]:
    """Make the seeds of the entries, and write them one by one.

    Parameters
    ----------
    path
        The file.
    entries
        The entries from which seeds are made.
    random_seed
        The random seed of the campaign.
    cutoff_A
        Cutoff of the calculator in Å.
    processes
        Number of processes. The seeds do not depend on it.
    on_progress
        Called after each seed with the number of seeds that were made or discarded so far.

    Returns
    -------
    dict
        The report of `Rejections`, as JSON types.
    """
    rejections = Rejections()
    with path.open('w', encoding='utf-8') as out:
        for seed in iterate_seeds_in_processes(
            entries, random_seed=random_seed, cutoff_A=cutoff_A, processes=processes, rejections=rejections
        ):
            _write_seed(out, seed)
            on_progress(rejections.requested)
    return rejections.as_dict()


def _write_seed(out: TextIO, seed: Seed) -> None:
    atoms = seed.atoms.copy()
    # ASE's reader removes single backslashes before it parses the JSON. The id is part of the record, because an id
    # that consists of digits would be read as a number.
    record = json.dumps({'seed_id': seed.seed_id, **seed.record}).replace('\\', '\\\\')
    atoms.info = {'record': f'_JSON {record}'}
    write_xyz(out, [atoms])
