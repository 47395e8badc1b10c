"""The parser of an assessment job."""

from __future__ import annotations

import io
from pathlib import Path

from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import ExitCode

from aiida_mlip_autopipe.assessment.assessment import Assessment
from aiida_mlip_autopipe.assessment.contract import PROGRESS_FILE, UNFINISHED, Progress
from aiida_mlip_autopipe.assessment.predictions import Predictions
from aiida_mlip_autopipe.core.errors import first_line
from aiida_mlip_autopipe.data.assessment import (
    frames_to_assess,
    node_from_assessment,
    other_structures,
    trajectory_sizes,
)
from aiida_mlip_autopipe.data.evaluation import ABOUT
from aiida_mlip_autopipe.jobs import contract
from aiida_mlip_autopipe.labelling import Failure, Label
from aiida_mlip_autopipe.labelling.keys import label_key
from aiida_mlip_autopipe.parsers.job import JobParser


class AssessmentParser(JobParser):
    """Attaches what the model predicts, or the files from which another job continues."""

    def attach(self, result: contract.Result, folder: Path) -> ExitCode | None:
        """Attach the assessment of a finished job, and the files of a job that was stopped or killed."""
        if result.outcome in ('out_of_walltime', 'stopped', 'killed'):
            self._attach_unfinished(folder)
        if result.outcome != 'completed':
            return None
        inputs = self.node.base.links.get_incoming(link_type=LinkType.INPUT_CALC).nested()
        frames, others = frames_to_assess(inputs), other_structures(inputs)
        outcomes: dict[str, Label | Failure] = {}
        if frames or others:
            found = self.read_labels(folder)
            if isinstance(found, ExitCode):
                return found
            outcomes = found
        try:
            progress = Progress.read(folder / PROGRESS_FILE)
        except ValueError as error:
            return self.exit_codes.ERROR_RESULT_UNREADABLE.format(reason=f'{PROGRESS_FILE}: {first_line(error)}')
        assessment = Assessment(
            Predictions.from_outcomes(frames, [outcomes.get(label_key(atoms, '')) for atoms in frames]),
            tuple(inputs['rows'].get_list()) if 'rows' in inputs else (),
            trajectory_sizes(inputs),
            Predictions.from_outcomes(others, [outcomes.get(label_key(atoms, '')) for atoms in others]),
            {pair: dimer.curve for pair, dimer in progress.dimers.items()},
            progress.hot_runs,
        )
        about = result.model_dump(mode='json', include=set(ABOUT))
        self.out('assessment', node_from_assessment(assessment, about))
        return None

    def _attach_unfinished(self, folder: Path) -> None:
        files = [folder / name for name in UNFINISHED if (folder / name).is_file()]
        if not files:
            return
        node = orm.FolderData()
        for file in files:
            node.base.repository.put_object_from_filelike(io.BytesIO(file.read_bytes()), file.name)
        self.out('unfinished', node)
