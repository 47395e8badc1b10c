"""Conversion between the frames of a leg and AiiDA's `TrajectoryData`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from typing import Any, NamedTuple, TypeVar

import numpy as np
from aiida.manage import get_manager
from aiida.orm import Data, ProcessNode, QueryBuilder, TrajectoryData
from aiida.repository import Repository
from ase.data import atomic_numbers, chemical_symbols

from aiida_mlip_autopipe.data.schema_version import SCHEMA_VERSION, check_schema, check_version, set_schema
from aiida_mlip_autopipe.structures.trajectory import Trajectory

TRAJECTORY_VERSION = 1
"""Version of the content of a leg node."""

LABEL_ARRAYS = ('energies', 'forces', 'stresses', 'temperatures')
EXTRA_PREFIX = 'extra_'

D = TypeVar('D', bound=Data)
_COLUMNS = ['id', 'uuid', 'attributes', 'repository_metadata']


class _Content(NamedTuple):
    """What the database contains about a node."""

    uuid: str
    attributes: dict[str, Any]
    metadata: dict[str, Any]


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
    found = _read_stored(nodes)
    trajectories = dict(zip(found, _read_trajectories(list(found.values())), strict=True))
    return [trajectories[node.pk] if node.is_stored else _from_unstored(node) for node in nodes]


def input_trajectories(process: ProcessNode) -> list[Trajectory]:
    """Return the frames of all legs that are inputs of a process, in the order of `sort_trajectories`.

    The nodes are not loaded, because this takes as long as reading the frames.

    Raises
    ------
    SchemaVersionError
        If a node was written by a version of the package that this version cannot read.
    FileNotFoundError
        If a file is missing in the repository.
    """
    query = QueryBuilder(backend=process.backend).append(ProcessNode, filters={'id': process.pk}, tag='process')
    query.append(TrajectoryData, with_outgoing='process', project=_COLUMNS)
    found = [_Content(*columns) for _, *columns in query.iterall()]
    return _read_trajectories(sorted(found, key=lambda content: _sort_key(content.attributes)))


def _read_stored(nodes: Sequence[TrajectoryData]) -> dict[int, _Content]:
    """Return what the database contains about the stored nodes, by pk.

    They are read together, because AiiDA executes a query for each attribute of each node.
    """
    stored = [node.pk for node in nodes if node.is_stored]
    if not stored:  # AiiDA refuses a filter with an empty list
        return {}
    query = QueryBuilder(backend=nodes[0].backend).append(Data, filters={'id': {'in': stored}}, project=_COLUMNS)
    return {pk: _Content(*columns) for pk, *columns in query.iterall()}


def _read_trajectories(contents: Sequence[_Content]) -> list[Trajectory]:
    for content in contents:
        name = f'TrajectoryData {content.uuid}'
        check_version(content.attributes.get(SCHEMA_VERSION), name, TRAJECTORY_VERSION)
    keys = [{path: str(key) for path, key in Repository.flatten(one.metadata).items() if key} for one in contents]
    wanted = sorted({key for of_node in keys for key in of_node.values()})
    streams = get_manager().get_profile_storage().get_repository().iter_object_streams(wanted) if wanted else ()
    arrays = {key: np.load(BytesIO(stream.read()), allow_pickle=False) for key, stream in streams}
    if missing := set(wanted) - arrays.keys():
        raise FileNotFoundError(f"AiiDA's repository has no object {min(missing)}")
    return [
        _make_trajectory(content.attributes, {path.removesuffix('.npy'): arrays[key] for path, key in of_node.items()})
        for content, of_node in zip(contents, keys, strict=True)
    ]


def _from_unstored(node: TrajectoryData) -> Trajectory:
    check_schema(node, TRAJECTORY_VERSION)
    return _make_trajectory(node.base.attributes.all, {name: node.get_array(name) for name in node.get_arraynames()})


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
    found = _read_stored(nodes)

    def sort_key(node: TrajectoryData) -> tuple[str, int, int, str]:
        return _sort_key(found[node.pk].attributes if node.is_stored else node.base.attributes.all)

    return sorted(nodes, key=sort_key)


def _sort_key(attributes: Mapping[str, Any]) -> tuple[str, int, int, str]:
    recoveries = attributes['about'].get('recoveries', 0)
    return attributes['seed_id'], attributes['first_step'], recoveries, attributes['trajectory_id']


def trajectory_id(node: Data) -> str:
    """Return the id of a trajectory, or the trajectory id of an evaluation."""
    return str(node.base.attributes.get('trajectory_id'))


def link_labels(name: str, nodes: Iterable[D]) -> dict[str, D]:
    """Return nodes by link labels made from their trajectory ids. The program does not read the labels."""
    return {f'{name}_{trajectory_id(node)}': node for node in nodes}
