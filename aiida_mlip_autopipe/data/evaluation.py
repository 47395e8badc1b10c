"""The node of an evaluation: the labels of a second calculator for the frames of a leg."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from aiida import orm
from ase import Atoms

from aiida_mlip_autopipe.data.schema_version import check_schema, set_schema
from aiida_mlip_autopipe.data.seed import SeedData
from aiida_mlip_autopipe.data.trajectory import trajectories_from_nodes, trajectory_from_node, trajectory_id
from aiida_mlip_autopipe.structures.disagreement import compare_labels, frames_in_common, with_measures
from aiida_mlip_autopipe.structures.trajectory import Trajectory

ABOUT = ('calculator_name', 'model_name', 'model_sha256', 'device', 'precision', 'environment', 'versions')
"""Fields of the result of a job that identify its calculator; stored with its values."""

EVALUATION_NODE_VERSION = 1
"""Version of the content of an evaluation node."""


def node_from_evaluation(first: Trajectory, second: Trajectory, about: dict[str, Any]) -> orm.ArrayData:
    """Return an unstored node for an evaluation.

    Parameters
    ----------
    first
        The frames of the leg with the labels of the calculator that ran the exploration.
    second
        The same frames with the labels of the second calculator. Some frames may be missing.
    about
        Provenance of the second calculator, stored as an attribute.

    Returns
    -------
    aiida.orm.ArrayData
        The arrays ``steps`` (f,), ``energies`` in eV (f,), ``forces`` in eV/Å (f, n, 3) and those of `compare_labels`,
        in the order of the frames of the leg. Missing values are NaN.
    """
    rows, others = frames_in_common(first, second)
    energies, forces = np.full(len(first), np.nan), np.full(first.forces.shape, np.nan)
    energies[rows], forces[rows] = second.energies[others], second.forces[others]
    arrays = {'steps': np.asarray(first.steps), 'energies': energies, 'forces': forces}
    node = orm.ArrayData({**arrays, **compare_labels(first, second)})
    set_schema(node, EVALUATION_NODE_VERSION)
    ids = {'trajectory_id': first.trajectory_id, 'seed_id': first.seed_id}
    node.base.attributes.set_many({**ids, 'about': about})
    return node


def frames_to_evaluate(leg: orm.TrajectoryData, seed: SeedData) -> list[Atoms]:
    """Return the frames of a leg as structures, with the tags and the initial moments of their seed."""
    trajectory = trajectory_from_node(leg)
    template = seed.to_seed().atoms
    frames = []
    for positions, cell in zip(trajectory.positions, trajectory.cells, strict=True):
        frame = template.copy()
        frame.positions[:] = positions
        frame.cell[:] = cell
        frames.append(frame)
    return frames


def evaluated_trajectories(
    legs: Iterable[orm.TrajectoryData], evaluations: Iterable[orm.ArrayData]
) -> list[Trajectory]:
    """Return the frames of each leg, with the disagreement of the committee if it evaluated them.

    Raises
    ------
    SchemaVersionError
        If a node was written by a version of the package that this version cannot read.
    """
    evaluation_of = {trajectory_id(evaluation): evaluation for evaluation in evaluations}
    nodes = list(legs)
    return [
        _evaluated(trajectory, evaluation_of.get(trajectory_id(leg)))
        for leg, trajectory in zip(nodes, trajectories_from_nodes(nodes), strict=True)
    ]


def _evaluated(trajectory: Trajectory, evaluation: orm.ArrayData | None) -> Trajectory:
    if evaluation is None:
        return trajectory
    check_schema(evaluation, EVALUATION_NODE_VERSION)
    return with_measures(trajectory, {name: evaluation.get_array(name) for name in evaluation.get_arraynames()})
