"""Processes that run in this interpreter at the same time."""

from __future__ import annotations

from typing import Any, ClassVar

from aiida import orm
from aiida.engine import Process, ToContext, WorkChain, run_get_node


class AtOnce(WorkChain):
    """Submits processes and waits for all of them."""

    wanted: ClassVar[tuple[type[Process], list[dict[str, Any]]]]

    @classmethod
    def define(cls, spec):
        super().define(spec)
        spec.outline(cls.submit_all, cls.end)

    def submit_all(self):
        process, inputs = self.wanted
        return ToContext(**{f'child_{number}': self.submit(process, **one) for number, one in enumerate(inputs)})

    def end(self):
        """Come after them: a last step would not wait for what it submits."""


def run_at_once(process: type[Process], inputs: list[dict[str, Any]]) -> list[orm.ProcessNode]:
    """Run a process with each of several inputs; return the nodes in this order."""
    AtOnce.wanted = (process, inputs)
    _, node = run_get_node(AtOnce)
    return sorted(node.called, key=lambda child: child.pk)
