"""The parser of a selection."""

from __future__ import annotations

from pathlib import Path

from aiida.engine import ExitCode

from aiida_mlip_autopipe.core.errors import first_line
from aiida_mlip_autopipe.data.selection import nodes_from_selection
from aiida_mlip_autopipe.data.trajectory import sort_trajectories
from aiida_mlip_autopipe.jobs import contract
from aiida_mlip_autopipe.parsers.job import JobParser
from aiida_mlip_autopipe.sampling.job import read_selection


class SelectionParser(JobParser):
    """Attaches the same nodes as the calcfunction `select_frames`."""

    def attach(self, result: contract.Result, folder: Path) -> ExitCode | None:
        """Attach the selection and the report of a completed job."""
        if result.outcome != 'completed':
            return None
        try:
            selection = read_selection(folder)
            nodes = nodes_from_selection(selection, sort_trajectories(self.node.inputs.legs.values()))
        except (OSError, ValueError, IndexError) as error:
            return self.exit_codes.ERROR_SELECTION_UNREADABLE.format(reason=first_line(error))
        for label, node in nodes.items():
            self.out(label, node)
        return None
