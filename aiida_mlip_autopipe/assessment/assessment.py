"""The result of an assessment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from aiida_mlip_autopipe.assessment.contract import HotRun
from aiida_mlip_autopipe.assessment.predictions import Predictions
from aiida_mlip_autopipe.rounds.dimers import DimerCurve


@dataclass(frozen=True, eq=False)
class Assessment:
    """What rounds need to know about a model.

    Attributes
    ----------
    frames
        The predictions for the rows of a dataset, followed by those for the frames of legs.
    rows
        Indices of these rows in their dataset.
    trajectories
        Number of frames of each leg by its trajectory id, in order.
    other_chemistry
        The predictions for structures of other chemical systems, on which models are compared.
    dimers
        The energy of two atoms for each pair of elements, such as ``Au-Cu``.
    hot_runs
        The outcomes of the hot runs.
    """

    frames: Predictions
    rows: tuple[int, ...]
    trajectories: Mapping[str, int]
    other_chemistry: Predictions
    dimers: Mapping[str, DimerCurve] = field(default_factory=dict)
    hot_runs: tuple[HotRun, ...] = ()

    def of_rows(self, rows: Sequence[int]) -> Predictions:
        """Return the predictions for rows of the dataset.

        Raises
        ------
        KeyError
            If a row was not assessed.
        """
        place = {row: index for index, row in enumerate(self.rows)}
        return self.frames.subset([place[row] for row in rows])

    def of_trajectory(self, trajectory_id: str) -> Predictions:
        """Return the predictions for the frames of a leg.

        Raises
        ------
        KeyError
            If the leg was not assessed.
        """
        start = len(self.rows)
        for name, n_frames in self.trajectories.items():
            if name == trajectory_id:
                return self.frames.subset(np.arange(start, start + n_frames))
            start += n_frames
        raise KeyError(trajectory_id)
