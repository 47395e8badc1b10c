"""Conversion between the frames of a leg and AiiDA's `TrajectoryData`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from typing import Any, TypeVar

import numpy as np
from aiida.orm import Data, QueryBuilder, TrajectoryData
from aiida.repository import Repository
from ase.data import atomic_numbers, chemical_symbols

from aiida_mlip_autopipe.data.schema_version import SCHEMA_VERSION, check_version, set_schema
from aiida_mlip_autopipe.structures.trajectory import Trajectory

TRAJECTORY_VERSION = 1
"""Version of the content of a leg node."""

LABEL_ARRAYS = ('energies', 'forces', 'stresses', 'temperatures')
EXTRA_PREFIX = 'extra_'

D = TypeVar('D', bound=Data)
# The attributes of a node, and the keys of its files in the repository by their names.
Content = tuple[dict[str, Any], dict[str, str]]


def node_from_trajectory(trajectory: Trajectory, about: dict[str, Any]) -> TrajectoryData:
    """Return an unstored node for a leg.

    Parameters
    ----------
    trajectory
        The frames. If they have the extra array ``time_fs``, it is converted to the times of the node in ps.
    about
        Provenance of the frames, stored as attributes: ensemble, calculator, model and versions.
    """
    extra = dict(trajectory.extra)
    times_fs = extra.pop('time_fs', None)
    node = TrajectoryData()
    node.set_trajectory(
        symbols=[chemical_symbols[number] for number in trajectory.numbers],
        positions=np.asarray(trajectory.positions, dtype=np.float64),
        stepids=np.asarray(trajectory.steps),
        cells=np.asarray(trajectory.cells, dtype=np.float64),
        times=None if times_fs is None else np.asarray(times_fs, dtype=np.float64) * 1e-3,
        pbc=[bool(periodic) for periodic in trajectory.pbc],
    )
    for name in LABEL_ARRAYS:
        node.set_array(name, np.asarray(getattr(trajectory, name), dtype=np.float64))
    for name, array in extra.items():
        node.set_array(EXTRA_PREFIX + name, array)
    set_schema(node, TRAJECTORY_VERSION)
    ids = {'trajectory_id': trajectory.trajectory_id, 'seed_id': trajectory.seed_id}
    node.base.attributes.set_many({**ids, 'first_step': int(trajectory.steps[0])})
    node.base.attributes.set('about', about)
    return node


def trajectory_from_node(node: TrajectoryData) -> Trajectory:
    """Return the frames that a node stores.

    Raises
    ------
    SchemaVersionError
        If the node was written by a version of the package that this version cannot read.
    """
    (trajectory,) = trajectories_from_nodes([node])
    return trajectory


def trajectories_from_nodes(nodes: Sequence[TrajectoryData]) -> list[Trajectory]:
    """Return the frames of several nodes. Their files are read together, because AiiDA opens its repository for each.

    Raises
    ------
    SchemaVersionError
        If a node was written by a version of the package that this version cannot read.
    FileNotFoundError
        If a file is missing in the repository.
    """
    return _read_trajectories(nodes, _read_contents(nodes))


def sorted_trajectories(nodes: Iterable[TrajectoryData]) -> list[Trajectory]:
    """Return the frames of several nodes in the order of `sort_trajectories`.

    Raises
    ------
    SchemaVersionError
        If a node was written by a version of the package that this version cannot read.
    FileNotFoundError
        If a file is missing in the repository.
    """
    nodes = list(nodes)
    pairs = sorted(zip(nodes, _read_contents(nodes), strict=True), key=lambda pair: _sort_key(pair[1][0]))
    return _read_trajectories([node for node, _ in pairs], [content for _, content in pairs])


def _read_trajectories(nodes: Sequence[TrajectoryData], contents: Sequence[Content]) -> list[Trajectory]:
    for node, (attributes, _) in zip(nodes, contents, strict=True):
        check_version(attributes.get(SCHEMA_VERSION), f'{type(node).__name__} {node.uuid}', TRAJECTORY_VERSION)
    return [
        _make_trajectory(attributes, arrays)
        for (attributes, _), arrays in zip(contents, _read_arrays(nodes, contents), strict=True)
    ]


def _read_contents(nodes: Sequence[TrajectoryData]) -> list[Content]:
    """Return the attributes of each node, and the keys of its files in the repository by their names.

    Stored nodes are read together, because AiiDA executes a query for each attribute of each node. A node that is not
    stored has no keys.
    """
    stored = [node.pk for node in nodes if node.is_stored]
    found: dict[int, Content] = {}
    if stored:  # AiiDA refuses a filter with an empty list
        query = QueryBuilder(backend=nodes[0].backend)
        columns = ['id', 'attributes', 'repository_metadata']
        query.append(Data, filters={'id': {'in': stored}}, project=columns)
        for pk, attributes, metadata in query.iterall():
            found[pk] = attributes, {name: str(key) for name, key in Repository.flatten(metadata).items() if key}
    return [found[node.pk] if node.is_stored else (node.base.attributes.all, {}) for node in nodes]


def _read_arrays(nodes: Sequence[TrajectoryData], contents: Sequence[Content]) -> list[dict[str, np.ndarray]]:
    """Return all arrays of each node by their names."""
    wanted = sorted({key for _, files in contents for key in files.values()})
    streams = nodes[0].backend.get_repository().iter_object_streams(wanted) if wanted else ()
    arrays = {key: np.load(BytesIO(stream.read()), allow_pickle=False) for key, stream in streams}
    if missing := set(wanted) - arrays.keys():
        raise FileNotFoundError(f"AiiDA's repository has no object {min(missing)}")
    return [
        {name.removesuffix('.npy'): arrays[key] for name, key in files.items()}
        if node.is_stored
        else {name: node.get_array(name) for name in node.get_arraynames()}
        for node, (_, files) in zip(nodes, contents, strict=True)
    ]


def _make_trajectory(attributes: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Trajectory:
    extra = {name: arrays[name] for name in sorted(arrays) if name.startswith(EXTRA_PREFIX)}
    if 'times' in arrays:
        extra[EXTRA_PREFIX + 'time_fs'] = arrays['times'] * 1e3
    return Trajectory(
        seed_id=attributes['seed_id'],
        numbers=np.array([atomic_numbers[symbol] for symbol in attributes['symbols']]),
        pbc=np.array(attributes['pbc']),
        steps=arrays['steps'],
        positions=arrays['positions'],
        cells=arrays['cells'],
        **{name: arrays[name] for name in LABEL_ARRAYS},
        extra={name.removeprefix(EXTRA_PREFIX): array for name, array in extra.items()},
    )


def sort_trajectories(nodes: Iterable[TrajectoryData]) -> list[TrajectoryData]:
    """Return trajectory nodes in an order that depends only on their content: by seed, then by first step.

    If two legs of a seed begin at the same step, the one with fewer recoveries comes first.
    """
    nodes = list(nodes)
    pairs = sorted(zip(nodes, _read_contents(nodes), strict=True), key=lambda pair: _sort_key(pair[1][0]))
    return [node for node, _ in pairs]


def _sort_key(attributes: Mapping[str, Any]) -> tuple[str, int, int, str]:
    recoveries = attributes['about'].get('recoveries', 0)
    return attributes['seed_id'], attributes['first_step'], recoveries, attributes['trajectory_id']


def trajectory_id(node: Data) -> str:
    """Return the id of a trajectory, or the trajectory id of an evaluation."""
    return str(node.base.attributes.get('trajectory_id'))


def link_labels(name: str, nodes: Iterable[D]) -> dict[str, D]:
    """Return nodes by link labels made from their trajectory ids. The program does not read the labels."""
    return {f'{name}_{trajectory_id(node)}': node for node in nodes}
