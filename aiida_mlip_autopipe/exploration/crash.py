"""The crash file: the structures just before a guard fired, and the one that made it fire."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io.trajectory import TrajectoryWriter

from aiida_mlip_autopipe.calculators.evaluation import Evaluation
from aiida_mlip_autopipe.exploration.guards import Alarm
from aiida_mlip_autopipe.exploration.trajectory_file import make_frame


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A state to show if the run crashes soon after; Å and ASE's unit of momentum."""

    step: int
    positions: np.ndarray
    momenta: np.ndarray
    cell: np.ndarray
    evaluation: Evaluation


def write_crash(path: Path, template: Atoms, snapshots: Iterable[Snapshot], alarm: Alarm) -> None:
    """Write snapshots with their momenta; each frame's ``info`` has step, rule and message, and whether it failed.

    Parameters
    ----------
    path
        The file, in ASE's binary format.
    template
        The atoms, with tags, magnetic moments and constraints.
    snapshots
        In order of time; the last one made the guard fire.
    alarm
        The guard.
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
