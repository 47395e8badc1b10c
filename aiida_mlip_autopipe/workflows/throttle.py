"""Work chains that keep at most so many children in flight, and refill a slot as soon as one ends."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from typing import Any

from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import ProcessState

from aiida_mlip_autopipe.aiida_internals import EagerWorkChain
from aiida_mlip_autopipe.workflows.graph import is_asked_to_stop
from aiida_mlip_autopipe.workflows.lost_jobs import MAX_LOST, is_lost, lost_message
from aiida_mlip_autopipe.workflows.paused import find_paused
from aiida_mlip_autopipe.workflows.submit_once import SubmitOnceWorkChain

# A paused job tells nobody, so the work chain looks for one now and then while others wait for a slot.
PAUSED_POLL_S = 60.0


class ThrottledWorkChain(EagerWorkChain, SubmitOnceWorkChain):
    """Takes the labels in ``ctx.waiting`` one after another, at most ``max_concurrent_jobs`` of them at a time.

    Its outline has ``while_(cls.has_unfinished)(cls.fill_slots)``; ``ctx.ended`` then has the pk of each by its label.
    A job that the cluster lost is submitted again.
    """

    _watch: asyncio.TimerHandle | None = None

    @abstractmethod
    def submit_one(self, label: str) -> orm.ProcessNode:
        """Submit the process of a label, with `link_label` as the label of its link."""

    def link_label(self, label: str) -> str:
        """Return the label of the link to the next child of a label, which distinguishes it from other children."""
        n_lost = self.ctx.n_lost.get(label, 0)
        return f'{label}_again_{n_lost}' if n_lost else label

    def start_empty(self) -> None:
        """Start with nothing that waits, runs or has ended."""
        self.ctx.waiting = []
        self.ctx.running = {}
        self.ctx.ended = {}
        # Number of lost jobs by label.
        self.ctx.n_lost = {}

    def has_unfinished(self) -> bool:
        """Return whether one waits or runs."""
        return bool(self.ctx.waiting or self.ctx.running)

    def fill_slots(self) -> None:
        """Record the children that have ended, fill the free slots, and await all running children."""
        for label, pk in list(self.ctx.running.items()):
            node = orm.load_node(pk)
            if not node.is_terminated:
                continue
            del self.ctx.running[label]
            n_lost = self.ctx.n_lost.get(label, 0)
            if is_lost(node) and n_lost < MAX_LOST:
                self.report(lost_message(node))
                self.ctx.n_lost[label] = n_lost + 1
                self.ctx.waiting.append(label)
            else:
                self.ctx.ended[label] = pk
        if self._is_asked_to_stop():
            self.ctx.waiting = []
        for _ in range(self._count_free_slots()):
            label = self.ctx.waiting.pop(0)
            self.ctx.running[label] = self.submit_one(label).pk
        self._watch_for_paused()
        self.ctx.awaited = AttributeDict()
        self.to_context(**{f'awaited.{label}': orm.load_node(pk) for label, pk in self.ctx.running.items()})

    def _is_asked_to_stop(self) -> bool:
        """Return whether a person has stopped the campaign, which is this work chain or its caller."""
        caller = self.node.caller
        return is_asked_to_stop(self.node.pk) or (caller is not None and is_asked_to_stop(caller.pk))

    def _count_free_slots(self) -> int:
        """Return how many explorations can start now; one whose job is paused holds no slot."""
        busy = len(self.ctx.running) - len(find_paused(self.ctx.running.values()))
        return min(len(self.ctx.waiting), max(0, self.inputs.max_concurrent_jobs - busy))

    def _watch_for_paused(self) -> None:
        """Look for slots that a paused job has freed, now and again until no seed waits."""
        if self._watch is not None:
            self._watch.cancel()
        self._watch = self.loop.call_later(PAUSED_POLL_S, self._use_slots_of_paused) if self.ctx.waiting else None

    def _use_slots_of_paused(self) -> None:
        if self.has_terminated():
            return
        if self.state == ProcessState.WAITING and self._count_free_slots():
            self.resume()
        else:
            self._watch_for_paused()

    def load_instance_state(self, saved_state: Any, load_context: Any) -> None:
        """Take up the watch again after a restart of the daemon."""
        super().load_instance_state(saved_state, load_context)
        if 'waiting' in self.ctx:
            self._watch_for_paused()
