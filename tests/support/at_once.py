"""Processes that run concurrently in this interpreter."""

from __future__ import annotations

from typing import Any, ClassVar

from aiida import orm
from aiida.engine import Process, ToContext, WorkChain, run_get_node


class AtOnce(WorkChain):
    """Submits processes and waits for all of them."""

    submission: ClassVar[tuple[type[Process], list[dict[str, Any]]]]

    @classmethod
    def define(cls, spec):
        super().define(spec)
        spec.outline(cls.submit_all, cls.end)

    def submit_all(self):
        process, inputs = self.submission
        return ToContext(**{f'child_{number}': self.submit(process, **one) for number, one in enumerate(inputs)})

    def end(self):
        """End after the children; the last step of an outline does not wait for its children."""


def run_at_once(process: type[Process], inputs: list[dict[str, Any]]) -> list[orm.ProcessNode]:
    """Run a process concurrently with each of several inputs; return the nodes in the same order."""
    AtOnce.submission = (process, inputs)
    _, node = run_get_node(AtOnce)
    return sorted(node.called, key=lambda child: child.pk)
