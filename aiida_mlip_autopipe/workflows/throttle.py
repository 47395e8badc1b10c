"""Work chains that limit the number of running children and start the next one as soon as one ends."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from typing import Any

from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import ProcessState

from aiida_mlip_autopipe.aiida_internals import EagerWorkChain, use_cache
from aiida_mlip_autopipe.workflows.graph import is_stop_requested
from aiida_mlip_autopipe.workflows.lost_jobs import MAX_LOST, is_lost, lost_message
from aiida_mlip_autopipe.workflows.paused import find_paused
from aiida_mlip_autopipe.workflows.submit_once import SubmitOnceWorkChain

# A paused job sends no message, so the work chain polls for paused jobs while others wait for a slot.
PAUSED_POLL_S = 60.0


class ThrottledWorkChain(EagerWorkChain, SubmitOnceWorkChain):
    """Submits a child for each label in ``ctx.waiting``, in order; at most ``max_concurrent_jobs`` run at a time.

    Its outline has ``while_(cls.has_unfinished)(cls.fill_slots)``. Afterwards, ``ctx.ended`` contains the pk of each
    child by its label. Jobs that the cluster lost are submitted again.
    """

    _poll_timer: asyncio.TimerHandle | None = None

    @abstractmethod
    def submit_one(self, label: str) -> orm.ProcessNode:
        """Submit the child for a label, with `link_label` as the label of its link."""

    def link_label(self, label: str) -> str:
        """Return a unique label for the link to the next child for a label."""
        n_lost = self.ctx.n_lost.get(label, 0)
        return f'{label}_again_{n_lost}' if n_lost else label

    def runs_again(self, label: str, node: orm.ProcessNode) -> bool:
        """Return whether to submit the child of a label again, for example because the cluster lost its job."""
        n_lost = self.ctx.n_lost.get(label, 0)
        if not is_lost(node) or n_lost == MAX_LOST:
            return False
        self.report(lost_message(node))
        self.ctx.n_lost[label] = n_lost + 1
        return True

    def start_empty(self) -> None:
        """Start with no waiting, running or ended children."""
        self.ctx.waiting = []
        self.ctx.running = {}
        self.ctx.ended = {}
        # Number of lost jobs by label.
        self.ctx.n_lost = {}

    def call(self, function: Any, **inputs: Any) -> tuple[dict[str, orm.Data], orm.CalcFunctionNode]:
        """Run a calcfunction, or take its result from the cache; return its outputs and its node."""
        with use_cache(f'mlip_autopipe.{function.__name__}', self.inputs.reuse_finished):
            outputs, node = function.run_get_node(**inputs)
        return outputs, node

    def has_unfinished(self) -> bool:
        """Return whether a child is waiting or running."""
        return bool(self.ctx.waiting or self.ctx.running)

    def fill_slots(self) -> None:
        """Record the children that have ended, fill the free slots, and wait for the running children."""
        for label, pk in list(self.ctx.running.items()):
            node = orm.load_node(pk)
            if not node.is_terminated:
                continue
            del self.ctx.running[label]
            if self.runs_again(label, node):
                self.ctx.waiting.append(label)
            else:
                self.ctx.ended[label] = pk
        if self._is_stop_requested():
            self.ctx.waiting = []
        for _ in range(self._count_free_slots()):
            label = self.ctx.waiting.pop(0)
            self.ctx.running[label] = self.submit_one(label).pk
        self._poll_for_paused()
        self.ctx.awaited = AttributeDict()
        self.to_context(**{f'awaited.{label}': orm.load_node(pk) for label, pk in self.ctx.running.items()})

    def _is_stop_requested(self) -> bool:
        """Return whether a user has stopped the campaign, which is this work chain or one above it."""
        return is_stop_requested(self.node.pk)

    def _count_free_slots(self) -> int:
        """Return how many children can start now. A child with a paused job occupies no slot."""
        busy = len(self.ctx.running) - len(find_paused(self.ctx.running.values()))
        return min(len(self.ctx.waiting), max(0, self.inputs.max_concurrent_jobs - busy))

    def _poll_for_paused(self) -> None:
        """While children are waiting, poll for slots that paused jobs have freed."""
        if self._poll_timer is not None:
            self._poll_timer.cancel()
        self._poll_timer = self.loop.call_later(PAUSED_POLL_S, self._fill_slots_of_paused) if self.ctx.waiting else None

    def _fill_slots_of_paused(self) -> None:
        if self.has_terminated():
            return
        if self.state == ProcessState.WAITING and self._count_free_slots():
            self.resume()
        else:
            self._poll_for_paused()

    def load_instance_state(self, saved_state: Any, load_context: Any) -> None:
        """Poll again after a restart of the daemon."""
        super().load_instance_state(saved_state, load_context)
        if 'waiting' in self.ctx:
            self._poll_for_paused()
