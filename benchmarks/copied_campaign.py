"""A finished campaign with many seeds, whose explorations are copies of those of a small campaign.

    python benchmarks/copied_campaign.py SMALL CONFIG

`DatasetWorkChain` runs in this process, in the profile of the small campaign. Its pk is printed. Generation, selection
and storage run as in any campaign. Only the explorations are copied: each gets the work chain, the jobs and all outputs
of an exploration of the same entry of ``generation``, and its own seed. The frames have the atoms of the seed, and its
positions plus the displacements of the copied run; energies, forces and stresses are those of the copied run, except
for small differences. All nodes of an exploration are inserted together, as by the import of an archive: AiiDA takes
more than a second to store them one by one.
"""

import itertools
import sys
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from uuid import uuid4

import numpy as np
from aiida import orm
from aiida.common import LinkType
from aiida.engine import run_get_node
from aiida.manage import get_manager
from aiida.orm.entities import EntityTypes

from aiida_mlip_autopipe.core.randomness import make_rng
from aiida_mlip_autopipe.data.trajectory import node_from_trajectory, trajectory_from_node
from aiida_mlip_autopipe.installation.profile import open_profile
from aiida_mlip_autopipe.workflows.dataset import DatasetWorkChain
from aiida_mlip_autopipe.workflows.exploration import ExplorationWorkChain
from aiida_mlip_autopipe.workflows.graph import load_campaign

CALLS = (LinkType.CALL_CALC, LinkType.CALL_WORK)
OUTPUTS = (LinkType.CREATE, LinkType.RETURN)
HASH = '_aiida_hash'
MAX_CONCURRENT = 90
"""Number of explorations that are copied at a time: the largest number that a campaign accepts."""


def main() -> None:
    small, config = sys.argv[1:]
    open_profile(None)
    print(run_copied_campaign(load_campaign(small), Path(config)).pk)


def run_copied_campaign(small: orm.WorkChainNode, config: Path) -> orm.WorkChainNode:
    """Run a campaign with copied explorations and return its node."""
    explorations = _explorations_by_entry(small)
    builder = DatasetWorkChain.get_builder_from_config(config)
    builder.max_concurrent_jobs = MAX_CONCURRENT
    submit = DatasetWorkChain.submit_one

    def copy_one(self, label):
        seed = orm.load_node(self.ctx.seeds[label])
        copied = next(explorations[self.ctx.places[label][-1]])
        return copied.store_copy(seed, self.node, f'explore_{label}')

    DatasetWorkChain.submit_one = copy_one
    try:
        _, campaign = run_get_node(builder)
    finally:
        DatasetWorkChain.submit_one = submit
    assert campaign.is_finished_ok, campaign.exit_message
    return campaign


def _explorations_by_entry(campaign):
    """Return an endless iterator over the explorations of each entry of ``generation``."""
    entries = {}
    for report in campaign.base.links.get_outgoing(link_type=LinkType.CALL_CALC).all_nodes():
        if report.process_label == 'generate_seeds':
            entries |= {seed_id: place[-1] for seed_id, place in report.outputs.places.get_dict().items()}
    found = {}
    for node in campaign.called:
        if node.process_class is ExplorationWorkChain:
            found.setdefault(entries[node.inputs.job.seed.seed_id], []).append(CopiedExploration(node))
    return {entry: itertools.cycle(nodes) for entry, nodes in found.items()}


class CopiedExploration:
    """An exploration that is copied for other seeds.

    Parameters
    ----------
    exploration
        The exploration.
    """

    def __init__(self, exploration):
        processes = [exploration, *exploration.called_descendants]
        self._pk, self._seed = exploration.pk, exploration.inputs.job.seed.pk
        # Each link as (pk of its source, pk of its target, type, label), except that from the campaign.
        self._links = [
            (link.node.pk, process.pk, link.link_type, link.link_label)
            for process in processes
            for link in process.base.links.get_incoming().all()
            if process.pk != exploration.pk or link.link_type not in CALLS
        ]
        outputs = [
            (process.pk, link.node.pk, link.link_type, link.link_label)
            for process in processes
            for link in process.base.links.get_outgoing(link_type=OUTPUTS).all()
        ]
        self._links += outputs
        created = {target for _, target, link_type, _ in outputs if link_type is LinkType.CREATE}
        copied = sorted({*created, *(process.pk for process in processes)})
        self._nodes = _rows(orm.Node, {'id': {'in': copied}})
        self._logs = _rows(orm.Log, {'dbnode_id': {'in': copied}})
        legs = [orm.load_node(pk) for pk in created]
        self._legs = {
            leg.pk: (trajectory_from_node(leg), leg.base.attributes.get('about'))
            for leg in legs
            if isinstance(leg, orm.TrajectoryData)
        }

    def store_copy(self, seed, campaign, link_label):
        """Store a copy for a seed, as called by a campaign, and return its work chain.

        Parameters
        ----------
        seed
            The seed. It has as many atoms as that of the exploration.
        campaign
            The campaign.
        link_label
            The label of the link from the campaign.
        """
        backend = get_manager().get_profile_storage()
        nodes = [self._copy_node(row, seed) for row in self._nodes]
        pks = backend.bulk_insert(EntityTypes.NODE, nodes)
        copies = {row['id']: pk for row, pk in zip(self._nodes, pks, strict=True)} | {self._seed: seed.pk}
        links = [(copies.get(source, source), copies[target], *about) for source, target, *about in self._links]
        links.append((campaign.pk, copies[self._pk], LinkType.CALL_WORK, link_label))
        backend.bulk_insert(
            EntityTypes.LINK,
            [
                {'input_id': source, 'output_id': target, 'type': link_type.value, 'label': label}
                for source, target, link_type, label in links
            ],
        )
        logs = [{**_without_id(log), 'uuid': str(uuid4()), 'dbnode_id': copies[log['dbnode_id']]} for log in self._logs]
        backend.bulk_insert(EntityTypes.LOG, logs)
        return orm.load_node(copies[self._pk])

    def _copy_node(self, row, seed):
        now = datetime.now(UTC)
        copy = {**_without_id(row), 'uuid': str(uuid4()), 'ctime': now, 'mtime': now}
        if row['id'] in self._legs:
            trajectory, about = self._legs[row['id']]
            leg = node_from_trajectory(_move_frames(trajectory, seed), about)
            copy |= {'attributes': dict(leg.base.attributes.all), 'repository_metadata': _store_files(leg)}
        elif 'seed_id' in row['attributes']:
            copy['attributes'] = {**row['attributes'], 'seed_id': seed.seed_id}
        if HASH in row['extras']:
            # The hashes of real explorations are different, too.
            copy['extras'] = {**row['extras'], HASH: uuid4().hex * 2}
        return copy


def _rows(entity, filters):
    """Return rows of the database, with all columns, in order of their ids."""
    query = orm.QueryBuilder().append(entity, filters=filters, project=['**'], tag='row')
    return [found['row'] for found in query.order_by({'row': {'id': 'asc'}}).dict()]


def _without_id(row):
    return {name: value for name, value in row.items() if name != 'id'}


def _store_files(node):
    """Store the files of an unstored node, and return the metadata of its repository."""
    stored, files = get_manager().get_profile_storage().get_repository(), node.base.repository
    keys = {
        name: stored.put_object_from_filelike(BytesIO(files.get_object_content(name, mode='rb')))
        for name in files.list_object_names()
    }
    return {'o': {name: {'k': key} for name, key in keys.items()}}


def _move_frames(frames, seed):
    atoms = seed.to_seed().atoms
    # Small random differences, so that no two explorations have the same frames or the same files.
    rng = make_rng(0, 'copied_campaign', seed.seed_id)
    moved = frames.positions - frames.positions[0] + rng.normal(scale=0.02, size=frames.positions.shape)
    results = {name: getattr(frames, name) for name in ('energies', 'forces', 'stresses', 'temperatures')}
    return replace(
        frames,
        seed_id=seed.seed_id,
        numbers=atoms.numbers,
        positions=atoms.positions + moved,
        cells=frames.cells - frames.cells[0] + np.array(atoms.cell),
        **{name: values * rng.normal(1.0, 1e-6, size=values.shape) for name, values in results.items()},
    )


if __name__ == '__main__':
    main()
