"""Find what was altered after it was stored: in a row of a file, in a node of the graph, or in a model file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from aiida import orm

from aiida_mlip_autopipe.calculations.export_dataset import level_of_labels
from aiida_mlip_autopipe.campaigns.provenance.comparison import (
    Deviation,
    Frame,
    compare_frames,
    label_frame,
    leg_frame,
    row_frame,
    row_labels,
)
from aiida_mlip_autopipe.campaigns.provenance.origin import Origin
from aiida_mlip_autopipe.data.trajectory import trajectory_from_node
from aiida_mlip_autopipe.labelling import Label
from aiida_mlip_autopipe.structures.rows.labels import LABELLING


def graph_frame(origin: Origin) -> Frame:
    """Return the frame of a row in the graph."""
    return leg_frame(trajectory_from_node(origin.trajectory), origin.frame)


def file_frame(origin: Origin) -> Frame:
    """Return the frame in a row, with its labels from the exploration."""
    about = origin.trajectory.base.attributes.get('about')
    return row_frame(origin.row, level_of_labels(origin.trajectory, about).hash)


def graph_label(origin: Origin) -> Label | None:
    """Return the label of a reference method in the graph; None if the graph contains none for the row."""
    if origin.labels is None:
        return None
    key = origin.row.data[LABELLING]['key']
    outcomes = dict(zip(origin.labels.keys, origin.labels.outcomes(), strict=True))
    found = outcomes.get(key)
    return found if isinstance(found, Label) else None


def find_altered_values(origin: Origin) -> list[str]:
    """Return the quantities of a row that differ from the graph, as sentences."""
    where = f'row {origin.row.id}'
    frame = compare_frames(file_frame(origin), graph_frame(origin), 'graph')
    altered = [_differs(where, one, f'trajectory {origin.trajectory.pk}') for one in frame]
    label = graph_label(origin)
    if label is not None and origin.labels is not None:
        labels = compare_frames(row_labels(origin.row, origin.labels.level.hash), label_frame(label), 'graph')
        altered += [_differs(where, one, f'labels node {origin.labels.pk}') for one in labels]
        about = origin.trajectory.base.attributes.get('about')
        known = {origin.labels.level.hash, level_of_labels(origin.trajectory, about).hash}
        if origin.row.level_hash not in known:
            altered.append(f'{where} has labels at a level of theory that is not in the graph')
    return altered


def find_altered_nodes(origin: Origin) -> list[str]:
    """Return the nodes behind a row whose content changed after they were stored, as sentences."""
    return [
        f'the content {name!r} of node {node.pk} ({type(node).__name__}) changed after it was stored'
        for node in _nodes_behind(origin)
        for name in _altered_objects(node)
    ]


def _differs(where: str, deviation: Deviation, source: str) -> str:
    return f'{where} differs from {source}: {deviation}'


def _nodes_behind(origin: Origin) -> Iterable[orm.Node]:
    nodes: list[orm.Node | None] = [origin.seed, origin.trajectory, origin.dataset, origin.labels]
    for job in (*origin.jobs, origin.labelling):
        if isinstance(job, orm.CalcJobNode):
            nodes += [link.node for link in job.base.links.get_incoming().all() if isinstance(link.node, orm.Data)]
    return {node.uuid: node for node in nodes if node is not None}.values()


def _altered_objects(node: orm.Node) -> Iterator[str]:
    """Yield the files in the repository of a node whose content has a sha256 that differs from their key."""
    for name, key in _keys(node.base.repository.metadata):
        try:
            with node.base.repository.open(name, 'rb') as file:
                found = hashlib.file_digest(file, 'sha256').hexdigest()
        except Exception:  # a damaged repository raises various errors
            found = ''
        if found != key:
            yield name


def _keys(folder: dict, path: str = '') -> Iterator[tuple[str, str]]:  # type: ignore[type-arg]
    """Yield the path and the key of each file; the key is the sha256 of the content when it was stored."""
    for name, content in folder.get('o', {}).items():
        if 'k' in content:
            yield path + name, content['k']
        else:
            yield from _keys(content, f'{path}{name}/')
