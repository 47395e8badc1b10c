"""The parser of a committee's evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from aiida.engine import ExitCode

from aiida_mlip_autopipe.data.evaluation import ABOUT, frames_to_evaluate, node_from_evaluation
from aiida_mlip_autopipe.data.trajectory import trajectory_from_node
from aiida_mlip_autopipe.jobs import contract
from aiida_mlip_autopipe.labelling.keys import label_key
from aiida_mlip_autopipe.labelling.label import Failure, Label
from aiida_mlip_autopipe.parsers.job import JobParser
from aiida_mlip_autopipe.structures.trajectory import Trajectory


class EvaluationParser(JobParser):
    """Attaches the energies and forces of the second calculator, and its disagreement with the first."""

    def attach(self, result: contract.Result, folder: Path) -> ExitCode | None:
        """Attach the evaluation, if any frame was evaluated. A job that was killed is submitted again."""
        if not result.n_frames or result.outcome == 'killed':
            return None
        outcomes = self.read_labels(folder)
        if isinstance(outcomes, ExitCode):
            return outcomes
        first = trajectory_from_node(self.node.inputs.trajectory)
        frames = frames_to_evaluate(self.node.inputs.trajectory, self.node.inputs.seed)
        labels = [outcomes.get(label_key(frame, '')) for frame in frames]
        about = result.model_dump(mode='json', include=set(ABOUT))
        self.out('evaluation', node_from_evaluation(first, _with_labels(first, labels), about))
        return None


def _with_labels(frames: Trajectory, labels: Sequence[Label | Failure | None]) -> Trajectory:
    """Return frames with the energies and forces of labels, NaN where a label is missing."""
    energies, forces = np.full(len(frames), np.nan), np.full(frames.forces.shape, np.nan)
    for index, label in enumerate(labels):
        if isinstance(label, Label):
            energies[index], forces[index] = label.energy_eV, label.forces_eV_A
    return replace(frames, energies=energies, forces=forces)
