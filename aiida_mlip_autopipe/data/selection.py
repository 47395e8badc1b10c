"""The nodes of a selection: which frames of which trajectories, and what the sampler has to say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from aiida import orm

from aiida_mlip_autopipe.data.schema import check_schema, set_schema
from aiida_mlip_autopipe.sampling import Selection
from aiida_mlip_autopipe.trajectories import Trajectory

SELECTION_VERSION = 1
"""Version of what the node of a selection holds."""


def nodes_from_selection(selection: Selection, trajectories: Sequence[Trajectory]) -> dict[str, orm.Data]:
    """Return the unstored nodes of a selection.

    Parameters
    ----------
    selection
        The frames chosen.
    trajectories
        What they were chosen from, in the order that the selection refers to.

    Returns
    -------
    dict
        ``selection``: arrays ``frame`` (index within the trajectory), ``step``, ``distance`` and ``gain`` in the order
        of choice, with the attributes ``trajectory_ids``, ``seed_ids`` and ``splits``, one of each for a frame;
        ``report``.
    """
    chosen = [trajectories[index] for index in selection.trajectory_indices]
    steps = [one.steps[frame] for one, frame in zip(chosen, selection.frame_indices, strict=True)]
    node = orm.ArrayData(
        {
            'frame': np.asarray(selection.frame_indices, dtype=np.int64),
            'step': np.asarray(steps, dtype=np.int64),
            'distance': np.asarray(selection.distances, dtype=np.float64),
            'gain': np.asarray(selection.gains, dtype=np.float64),
        }
    )
    set_schema(node, SELECTION_VERSION)
    node.base.attributes.set_many(
        {
            'trajectory_ids': [one.trajectory_id for one in chosen],
            'seed_ids': [one.seed_id for one in chosen],
            'splits': list(selection.splits),
        }
    )
    return {'selection': node, 'report': orm.Dict(selection.report)}


def selection_from_node(node: orm.ArrayData, report: Mapping[str, Any], trajectory_ids: Sequence[str]) -> Selection:
    """Return the selection that a node holds.

    Parameters
    ----------
    node
        As `nodes_from_selection` made it.
    report
        The content of the report beside it.
    trajectory_ids
        Of the trajectories, in the order that the selection shall refer to.

    Raises
    ------
    SchemaVersionError
        If another version of the package wrote the node, and this one cannot read it.
    """
    check_schema(node, SELECTION_VERSION)
    place_of = {name: place for place, name in enumerate(trajectory_ids)}
    return Selection(
        trajectory_indices=np.array([place_of[name] for name in node.base.attributes.get('trajectory_ids')]),
        frame_indices=node.get_array('frame'),
        distances=node.get_array('distance'),
        gains=node.get_array('gain'),
        splits=tuple(node.base.attributes.get('splits')),
        report=dict(report),
    )
