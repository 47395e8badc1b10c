"""The crash file: the last structures before a guard stopped the run, and the one that triggered it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io.trajectory import TrajectoryWriter

from aiida_mlip_autopipe.calculators.evaluation import Evaluation
from aiida_mlip_autopipe.exploration.files.trajectory_file import make_frame
from aiida_mlip_autopipe.exploration.guards import Alarm


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A recent state of the run, in Å and ASE's unit of momentum."""

    step: int
    positions: np.ndarray
    momenta: np.ndarray
    cell: np.ndarray
    evaluation: Evaluation


def write_crash(path: Path, template: Atoms, snapshots: Iterable[Snapshot], alarm: Alarm) -> None:
    """Write snapshots with momenta. The ``info`` of a frame contains its step, the rule, the message and ``failing``.

    Parameters
    ----------
    path
        The file, in ASE's binary format.
    template
        The atoms, with tags, magnetic moments and constraints.
    snapshots
        The snapshots in chronological order. The last one triggered the guard.
    alarm
        The guard that was triggered.
    """
    recent = list(snapshots)
    path.parent.mkdir(exist_ok=True)
    with TrajectoryWriter(path, 'w') as writer:
        for snapshot in recent:
            info = {
                'step': snapshot.step,
                'failing': snapshot is recent[-1],
                'rule': alarm.rule,
                'message': alarm.message,
            }
            frame = make_frame(template, snapshot.positions, snapshot.cell, snapshot.evaluation, info)
            frame.set_momenta(snapshot.momenta, apply_constraint=False)
            writer.write(frame)
