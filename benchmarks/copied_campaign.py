"""A finished campaign with many seeds, whose explorations are copies of those of a small campaign.

    python benchmarks/copied_campaign.py SMALL CONFIG

`DatasetWorkChain` runs in this process, in the profile of the small campaign. Its pk is printed. Generation, selection
and storage run as in any campaign. Only the explorations are copied: each gets the work chain, the jobs and all outputs
of an exploration of the same entry of ``generation``, and its own seed. The frames have the atoms of the seed, and its
positions plus the displacements of the copied run; energies and forces are those of the copied run.
"""

import itertools
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from aiida import orm
from aiida.common import LinkType
from aiida.engine import run_get_node

from aiida_mlip_autopipe.core.randomness import make_rng
from aiida_mlip_autopipe.data.trajectory import node_from_trajectory, trajectory_from_node
from aiida_mlip_autopipe.installation.profile import open_profile
from aiida_mlip_autopipe.workflows.dataset import DatasetWorkChain
from aiida_mlip_autopipe.workflows.exploration import ExplorationWorkChain
from aiida_mlip_autopipe.workflows.graph import load_campaign

CALLS = (LinkType.CALL_CALC, LinkType.CALL_WORK)
INPUTS = (LinkType.INPUT_CALC, LinkType.INPUT_WORK)
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
        return ExplorationCopy(copied, seed).store(self.node, f'explore_{label}')

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
            found.setdefault(entries[node.inputs.job.seed.seed_id], []).append(node)
    return {entry: itertools.cycle(nodes) for entry, nodes in found.items()}


class ExplorationCopy:
    """A copy of an exploration for another seed.

    Parameters
    ----------
    exploration
        The exploration.
    seed
        The seed of the copy. It has as many atoms as that of the exploration.
    """

    def __init__(self, exploration, seed):
        self.exploration = exploration
        self.seed = seed
        # The node that replaces each node of the exploration, by pk.
        self.copies = {exploration.inputs.job.seed.pk: seed}

    def store(self, campaign, link_label):
        """Store the copy as called by a campaign, and return its work chain."""
        return self._copy_process(self.exploration, campaign, link_label)

    def _copy_process(self, old, caller, link_label):
        new = type(old)(computer=old.computer, user=old.user)
        new.label, new.process_type = old.label, old.process_type
        new.base.attributes.set_many({name: one for name, one in old.base.attributes.items() if name != 'sealed'})
        for link in old.base.links.get_incoming(link_type=INPUTS).all():
            new.base.links.add_incoming(self.copies.get(link.node.pk, link.node), link.link_type, link.link_label)
        call = LinkType.CALL_WORK if isinstance(old, orm.WorkChainNode) else LinkType.CALL_CALC
        new.base.links.add_incoming(caller, call, link_label)
        new.store()
        for link in sorted(old.base.links.get_outgoing(link_type=CALLS).all(), key=lambda one: one.node.pk):
            self._copy_process(link.node, new, link.link_label)
        for link in old.base.links.get_outgoing(link_type=LinkType.CREATE).all():
            self._copy_output(link.node, new, link.link_label)
        for link in old.base.links.get_outgoing(link_type=LinkType.RETURN).all():
            self.copies[link.node.pk].base.links.add_incoming(new, LinkType.RETURN, link.link_label)
        for log in orm.Log.collection.get_logs_for(old):
            orm.Log(log.time, log.loggername, log.levelname, new.pk, message=log.message, metadata=log.metadata)
        new.seal()
        return new

    def _copy_output(self, old, creator, link_label):
        if isinstance(old, orm.TrajectoryData):
            new = node_from_trajectory(self._copy_frames(old), old.base.attributes.get('about'))
        else:
            new = old.clone()
            if 'seed_id' in new.base.attributes:
                new.base.attributes.set('seed_id', self.seed.seed_id)
        new.base.links.add_incoming(creator, LinkType.CREATE, link_label)
        self.copies[old.pk] = new.store()

    def _copy_frames(self, leg):
        frames, atoms = trajectory_from_node(leg), self.seed.to_seed().atoms
        # Small random displacements, so that no two explorations have the same frames.
        rng = make_rng(0, 'copied_campaign', self.seed.seed_id)
        moved = frames.positions - frames.positions[0] + rng.normal(scale=0.02, size=frames.positions.shape)
        return replace(
            frames,
            seed_id=self.seed.seed_id,
            numbers=atoms.numbers,
            positions=atoms.positions + moved,
            cells=frames.cells - frames.cells[0] + np.array(atoms.cell),
        )


if __name__ == '__main__':
    main()
