"""The node of uncertainties: how much several models disagree about the frames that all of them assessed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import numpy as np
from aiida import orm

from aiida_mlip_autopipe.assessment.assessment import Assessment
from aiida_mlip_autopipe.assessment.deviations import Deviations
from aiida_mlip_autopipe.data.schema_version import check_schema, set_schema

UNCERTAINTIES_NODE_VERSION = 1
"""Version of the content of a node of uncertainties."""
NAMES = tuple(field.name for field in fields(Deviations))


def node_from_uncertainties(uncertainties: Deviations, assessed: Assessment) -> orm.ArrayData:
    """Return an unstored node for the uncertainties of all frames of an assessment.

    It has an array (f,) for each field of `Deviations`, with NaN for unknown values. The attributes ``rows``,
    ``trajectory_ids`` and ``n_frames`` identify the frames.
    """
    node = orm.ArrayData({name: getattr(uncertainties, name) for name in NAMES})
    set_schema(node, UNCERTAINTIES_NODE_VERSION)
    node.base.attributes.set_many(
        {
            'rows': list(assessed.rows),
            'trajectory_ids': list(assessed.trajectories),
            'n_frames': list(assessed.trajectories.values()),
        }
    )
    return node


def uncertainties_of_rows(node: orm.ArrayData, rows: Sequence[int]) -> Deviations:
    """Return the uncertainties of rows of the dataset.

    Raises
    ------
    KeyError
        If a row was not assessed.
    SchemaVersionError
        If the node was written by a version of the package that this version cannot read.
    """
    check_schema(node, UNCERTAINTIES_NODE_VERSION)
    place = {row: index for index, row in enumerate(node.base.attributes.get('rows'))}
    chosen = np.array([place[row] for row in rows], dtype=np.int64)
    return Deviations(**{name: node.get_array(name)[chosen] for name in NAMES})


def uncertainties_of_trajectories(node: orm.ArrayData) -> dict[str, Deviations]:
    """Return the uncertainties of the frames of each leg, by its trajectory id.

    Raises
    ------
    SchemaVersionError
        If the node was written by a version of the package that this version cannot read.
    """
    check_schema(node, UNCERTAINTIES_NODE_VERSION)
    attributes = node.base.attributes.all
    bounds = len(attributes['rows']) + np.cumsum([0, *attributes['n_frames']])
    arrays = {name: node.get_array(name) for name in NAMES}
    return {
        one: Deviations(**{name: array[bounds[number] : bounds[number + 1]] for name, array in arrays.items()})
        for number, one in enumerate(attributes['trajectory_ids'])
    }
