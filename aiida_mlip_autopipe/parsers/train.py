"""The parser of a training job."""

from __future__ import annotations

from pathlib import Path

from aiida import orm
from aiida.engine import ExitCode

from aiida_mlip_autopipe.core.errors import first_line
from aiida_mlip_autopipe.data.model import ModelData
from aiida_mlip_autopipe.jobs import contract
from aiida_mlip_autopipe.parsers.job import JobParser
from aiida_mlip_autopipe.training.contract import CHECKPOINT_FILE, MODEL_FILE, TRAINING_FILE, Training
from aiida_mlip_autopipe.training.trainer import TRAINERS


class TrainingParser(JobParser):
    """Attaches the trained model and its report, or the checkpoint of a job that stopped."""

    def attach(self, result: contract.Result, folder: Path) -> ExitCode | None:
        """Attach the outputs once all of them have been read."""
        checkpoint = folder / CHECKPOINT_FILE
        if checkpoint.is_file() and result.outcome in ('out_of_walltime', 'stopped'):
            self.out('checkpoint', orm.SinglefileData(checkpoint))
        if result.outcome != 'completed':
            return None
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
