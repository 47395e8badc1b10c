"""The node of the descriptors of the frames of several legs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from aiida import orm
from pydantic import TypeAdapter

from aiida_mlip_autopipe.data.schema_version import check_schema, set_schema
from aiida_mlip_autopipe.descriptors.describe import AnyDescriptor, Descriptors, descriptor_key

DESCRIPTORS_NODE_VERSION = 1
"""Version of the content of a node of descriptors."""


def node_from_features(
    features: np.ndarray,
    n_rows: Mapping[str, int],
    requested: Mapping[str, Any],
    species: Sequence[int],
    about: dict[str, Any],
) -> orm.ArrayData:
    """Return an unstored node for descriptors.

    Parameters
    ----------
    features
        Descriptors, float32 (r, d), of one trajectory after another; without trajectories, those of the reference
        dataset.
    n_rows
        Number of rows of each trajectory, by its id, in the order of the trajectories.
    requested
        ``of``, which names what the descriptors describe, and ``descriptor``, the settings of the descriptor.
    species
        The atomic numbers that the descriptor supports.
    about
        Provenance of the descriptors, stored as an attribute.
    """
    node = orm.ArrayData({'features': features})
    attributes = {'trajectory_ids': list(n_rows), 'n_rows': list(n_rows.values()), 'about': about}
    node.base.attributes.set_many({**attributes, **requested, 'species': list(species)})
    set_schema(node, DESCRIPTORS_NODE_VERSION)
    return node


def descriptors_from_nodes(nodes: Iterable[orm.ArrayData], trajectory_ids: Sequence[str]) -> dict[str, Descriptors]:
    """Return the descriptors that jobs have computed for trajectories, by the key of the descriptor.

    A key is omitted if its descriptors are missing for any of the trajectories.

    Raises
    ------
    SchemaVersionError
        If a node was written by a version of the package that this version cannot read.
    """
    adapter: TypeAdapter[Any] = TypeAdapter(AnyDescriptor)
    found: dict[str, dict[str, np.ndarray]] = {}
    facts: dict[str, dict[str, Any]] = {}
    reference: dict[str, np.ndarray] = {}
    for node in nodes:
        check_schema(node, DESCRIPTORS_NODE_VERSION)
        attributes = node.base.attributes.all
        key = descriptor_key(adapter.validate_python(attributes['descriptor']), attributes['of'])
        if not attributes['trajectory_ids']:
            reference[key] = node.get_array('features')
            continue
        ends = np.cumsum(attributes['n_rows'])[:-1]
        parts = np.split(node.get_array('features'), ends)
        found.setdefault(key, {}).update(zip(attributes['trajectory_ids'], parts, strict=True))
        facts[key] = attributes
    return {
        key: Descriptors(
            [parts[one] for one in trajectory_ids],
            tuple(facts[key]['species']),
            dict(facts[key]['about']['statistics']),
            reference.get(key),
        )
        for key, parts in found.items()
        if parts.keys() >= set(trajectory_ids)
    }
