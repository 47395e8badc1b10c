"""The parser of a training job."""

from __future__ import annotations

from pathlib import Path

from aiida import orm
from aiida.engine import ExitCode

from aiida_mlip_autopipe.core.errors import first_line
from aiida_mlip_autopipe.data.model import ModelData
from aiida_mlip_autopipe.jobs import contract
from aiida_mlip_autopipe.jobs.job_file import JobRefusedError
from aiida_mlip_autopipe.parsers.job import JobParser
from aiida_mlip_autopipe.training.contract import CHECKPOINT_FILE, MODEL_FILE, TRAINING_FILE, Training
from aiida_mlip_autopipe.training.trainer import TRAINERS
from aiida_mlip_autopipe.training.work_folder import read_checkpoint

# Outcomes after which another job continues from the checkpoint.
CONTINUED = ('killed', 'out_of_walltime', 'stopped')


class TrainingParser(JobParser):
    """Attaches the trained model and its report, or the checkpoint of a job that ended early."""

    def attach(self, result: contract.Result, folder: Path) -> ExitCode | None:
        """Attach the outputs once all of them have been read."""
        if result.outcome != 'completed':
            return self._attach_checkpoint(result, folder / CHECKPOINT_FILE)
        trainer = TRAINERS.load(self.node.inputs.training['kind'])
        model = folder / f'{MODEL_FILE}{trainer.suffix}'
        if missing := [path.name for path in (model, folder / TRAINING_FILE) if not path.is_file()]:
            return self.exit_codes.ERROR_RESULT_UNREADABLE.format(reason=f'{missing[0]} is missing')
        try:
            report = Training.model_validate_json((folder / TRAINING_FILE).read_bytes())
        except ValueError as error:
            return self.exit_codes.ERROR_RESULT_UNREADABLE.format(reason=first_line(error))
        facts = {
            'elements': report.elements or None,
            'cutoff_A': report.cutoff_A,
            'versions': {report.trainer: report.trainer_version},
        }
        self.out('trained', ModelData.from_file(model, report.trainer, facts=facts))
        self.out('report', orm.Dict(report.model_dump(mode='json')))
        return None

    def _attach_checkpoint(self, result: contract.Result, path: Path) -> ExitCode | None:
        """Attach the checkpoint of a job that did not finish, however it ended."""
        if not path.is_file():
            if result.outcome in CONTINUED and contract.has_progressed(result.model_dump()):
                return self.exit_codes.ERROR_CHECKPOINT_UNREADABLE.format(reason=f'{path.name} is missing')
            return None
        try:
            read_checkpoint(path)
        except JobRefusedError as error:
            return self.exit_codes.ERROR_CHECKPOINT_UNREADABLE.format(reason=first_line(error))
        self.out('checkpoint', orm.SinglefileData(path))
        return None
