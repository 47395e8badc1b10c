"""The input and output nodes of a selection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from aiida import orm
from pydantic import TypeAdapter

from aiida_mlip_autopipe.assessment.deviations import Deviations
from aiida_mlip_autopipe.data.descriptors import descriptors_from_nodes
from aiida_mlip_autopipe.data.evaluation import evaluated_trajectories
from aiida_mlip_autopipe.data.schema_version import check_schema, set_schema
from aiida_mlip_autopipe.data.trajectory import sort_trajectories, trajectory_id
from aiida_mlip_autopipe.data.uncertainties import uncertainties_of_trajectories
from aiida_mlip_autopipe.sampling import Selection, SelectionRequest, sampling_union
from aiida_mlip_autopipe.structures.disagreement import with_uncertainties
from aiida_mlip_autopipe.structures.trajectory import Trajectory

SELECTION_VERSION = 1
"""Version of the content of a selection node."""


def request_from_nodes(inputs: Mapping[str, Any]) -> SelectionRequest:
    """Return the request for a selection, without the structures of a reference dataset.

    Parameters
    ----------
    inputs
        The inputs of the calcfunction or of the selection job.

    Raises
    ------
    SchemaVersionError
        If a node was written by a version of the package that this version cannot read.
    """
    legs = sort_trajectories(inputs['legs'].values())
    trajectories = evaluated_trajectories(legs, inputs.get('evaluations', {}).values())
    if 'uncertainties' in inputs:
        known = uncertainties_of_trajectories(inputs['uncertainties'])
        trajectories = [_with_uncertainties(one, known.get(one.trajectory_id)) for one in trajectories]
    described = descriptors_from_nodes(inputs.get('descriptors', {}).values(), [trajectory_id(leg) for leg in legs])
    adapter: TypeAdapter[Any] = TypeAdapter(sampling_union())
    return SelectionRequest(
        trajectories=trajectories,
        settings=adapter.validate_python(inputs['settings'].get_dict()),
        random_seed=inputs['random_seed'].value,
        groups=inputs['groups'].get_dict(),
        kinds=inputs['kinds'].get_dict(),
        labels=inputs['labels'].get_dict(),
        described=described,
    )


def _with_uncertainties(trajectory: Trajectory, known: Deviations | None) -> Trajectory:
    """Return a trajectory with its uncertainties, which are unknown for legs that were not assessed."""
    if known is None:
        return trajectory
    return with_uncertainties(trajectory, (known.force_eV_A, known.stress_GPa, known.energy_eV_atom))


def nodes_from_selection(selection: Selection, legs: Sequence[orm.TrajectoryData]) -> dict[str, orm.Data]:
    """Return unstored nodes for a selection.

    Parameters
    ----------
    selection
        The selected frames.
    legs
        The legs from which they were selected, in the order of the indices of the selection.

    Returns
    -------
    dict
        ``selection``, with the arrays ``frame`` (index within the trajectory), ``step``, ``distance`` and ``gain`` and
        the attributes ``trajectory_ids``, ``seed_ids`` and ``splits``, each with one value per frame, in the order of
        selection; and ``report``.
    """
    steps_of = {index: legs[index].get_stepids() for index in set(selection.trajectory_indices.tolist())}
    chosen = list(zip(selection.trajectory_indices.tolist(), selection.frame_indices.tolist(), strict=True))
    node = orm.ArrayData(
        {
            'frame': np.asarray(selection.frame_indices, dtype=np.int64),
            'step': np.array([steps_of[index][frame] for index, frame in chosen], dtype=np.int64),
            'distance': np.asarray(selection.distances, dtype=np.float64),
            'gain': np.asarray(selection.gains, dtype=np.float64),
        }
    )
    set_schema(node, SELECTION_VERSION)
    node.base.attributes.set_many(
        {
            'trajectory_ids': [trajectory_id(legs[index]) for index, _ in chosen],
            'seed_ids': [legs[index].base.attributes.get('seed_id') for index, _ in chosen],
            'splits': list(selection.splits),
        }
    )
    return {'selection': node, 'report': orm.Dict(selection.report)}


def selection_from_node(node: orm.ArrayData, report: Mapping[str, Any], trajectory_ids: Sequence[str]) -> Selection:
    """Return the selection that a node stores.

    Parameters
    ----------
    node
        A node from `nodes_from_selection`.
    report
        The content of its report node.
    trajectory_ids
        Ids of the trajectories, in the order of the indices of the selection.

    Raises
    ------
    SchemaVersionError
        If the node was written by a version of the package that this version cannot read.
    """
    check_schema(node, SELECTION_VERSION)
    index_of = {name: index for index, name in enumerate(trajectory_ids)}
    return Selection(
        trajectory_indices=np.array([index_of[name] for name in node.base.attributes.get('trajectory_ids')]),
        frame_indices=node.get_array('frame'),
        distances=node.get_array('distance'),
        gains=node.get_array('gain'),
        splits=tuple(node.base.attributes.get('splits')),
        report=dict(report),
    )
