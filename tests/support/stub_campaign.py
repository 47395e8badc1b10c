"""A throttled work chain whose children are nodes without processes; the test decides when they end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from aiida import orm
from aiida.common import LinkType
from aiida.engine import ProcessState, while_
from aiida.engine.runners import Runner
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager
from plumpy.persistence import LoadSaveContext

from aiida_mlip_autopipe.workflows.throttle import ThrottledWorkChain


class StubCampaign(ThrottledWorkChain):
    """Starts a stub for each label, in order."""

    # Called when a stub has started.
    when_started: Callable[[StubCampaign, str], None]
    # The events so far: ('start', label) or ('end', label).
    events: list[tuple[str, str]]

    @classmethod
    def define(cls, spec: Any) -> None:
        super().define(spec)
        spec.input('labels', valid_type=orm.List)
        spec.input('max_concurrent_jobs', valid_type=int, is_metadata=True)
        spec.outline(cls.setup, while_(cls.has_unfinished)(cls.fill_slots))

    def setup(self) -> None:
        self.start_empty()
        self.ctx.waiting = self.inputs.labels.get_list()

    def submit_one(self, label: str) -> orm.WorkChainNode:
        stub = orm.WorkChainNode(process_type='stub', label=label)
        stub.set_process_state(ProcessState.RUNNING)
        stub.base.links.add_incoming(self.node, LinkType.CALL_WORK, label)
        stub.store()
        self.events.append(('start', label))
        # The label is not yet among the running ones.
        self.loop.call_soon(self.when_started, self, label)
        return stub

    def end(self, label: str) -> None:
        """End a running stub."""
        self.events.append(('end', label))
        orm.load_node(self.ctx.running[label]).set_process_state(ProcessState.FINISHED)


def make_campaign(
    labels: Iterable[str], slots: int, when_started: Callable[[StubCampaign, str], None] = StubCampaign.end
) -> StubCampaign:
    """Return a stub campaign that has not started; by default each stub ends right after its start."""
    inputs = {'labels': orm.List(list(labels)), 'max_concurrent_jobs': slots}
    campaign = instantiate_process(make_runner(), StubCampaign, **inputs)
    campaign.when_started, campaign.events = when_started, []
    return campaign


def load_campaign(pk: int) -> StubCampaign:
    """Return the campaign that another worker loads from a checkpoint; each stub ends right after its start."""
    runner = make_runner()
    campaign = runner.persister.load_checkpoint(pk).unbundle(LoadSaveContext(loop=runner.loop, runner=runner))
    campaign.when_started, campaign.events = StubCampaign.end, []
    return campaign


def make_runner() -> Runner:
    """Return a runner with a separate event loop and a short polling interval, which records its subscriptions.

    Its `subscriptions` are the pks of the processes whose end it waits for, in order.
    """
    runner = get_manager().create_runner(communicator=None, poll_interval=0.01, loop=asyncio.new_event_loop())
    runner.subscriptions = []
    subscribe = runner.call_on_process_finish

    def record(pk: int, callback: Callable[[], Any]) -> None:
        runner.subscriptions.append(pk)
        subscribe(pk, callback)

    runner.call_on_process_finish = record
    return runner


def run_to_end(campaign: StubCampaign, seconds: float = 60) -> list[tuple[str, str]]:
    """Run a campaign to its end and return its events."""
    run = asyncio.wait_for(campaign.step_until_terminated(), seconds)
    campaign.runner.run_until_complete(run)
    assert campaign.node.is_finished_ok, campaign.node.exit_message
    return campaign.events
