"""Work chains that submit each child once, even if the daemon dies between a submission and the checkpoint."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.common import LinkType
from aiida.engine import Process, ProcessState, WorkChain

from aiida_mlip_autopipe.aiida_internals import run_stored_process


class SubmitOnceWorkChain(WorkChain):
    """A work chain that identifies its children by the labels of their links.

    AiiDA writes a checkpoint after each step. If the worker is killed before that, the step runs again and would submit
    its children a second time. This class finds the children that the step has already submitted.
    """

    def submit(self, process: type[Process], inputs: dict[str, Any] | None = None, **kwargs: Any) -> orm.ProcessNode:
        """Submit a child, or return the one that this step has already submitted."""
        metadata = (inputs or kwargs).get('metadata', {})
        child = self._find_child(metadata['call_link_label'])
        return super().submit(process, inputs, **kwargs) if child is None else child

    def _find_child(self, label: str) -> orm.ProcessNode | None:
        links = self.node.base.links.get_outgoing(
            link_type=(LinkType.CALL_CALC, LinkType.CALL_WORK), link_label_filter=label
        )
        for child in links.all_nodes():
            if child.process_state is not ProcessState.CREATED:
                return child
            if child.checkpoint is not None:
                # The daemon may not have received the request to run it.
                run_stored_process(self.runner, child.pk)
                return child
        return None
