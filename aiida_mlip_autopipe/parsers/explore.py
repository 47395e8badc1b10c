"""The parser of an exploration: it attaches first and judges then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aiida import orm
from aiida.engine import ExitCode
from aiida.parsers import Parser
from pydantic import ValidationError

from aiida_mlip_autopipe.data.trajectory import node_from_trajectory
from aiida_mlip_autopipe.exploration import contract
from aiida_mlip_autopipe.exploration.trajectory_file import read_trajectory

REFUSALS = {
    'contract': 'ERROR_CONTRACT_VERSION',
    'settings': 'ERROR_SETTINGS_REFUSED',
    'structure': 'ERROR_SETTINGS_REFUSED',
    'checkpoint': 'ERROR_SETTINGS_REFUSED',
    'element': 'ERROR_SETTINGS_REFUSED',
    'calculator_missing': 'ERROR_CALCULATOR_MISSING',
    'model_not_loaded': 'ERROR_MODEL_NOT_LOADED',
    'model_mismatch': 'ERROR_MODEL_MISMATCH',
}
OUTCOMES = {
    'failed': 'ERROR_RUNNER_RAISED',
    'out_of_walltime': 'ERROR_OUT_OF_WALLTIME',
    'stopped': 'ERROR_OUT_OF_WALLTIME',
    'unstable': 'ERROR_UNSTABLE',
    'no_frame': 'ERROR_NO_FRAME',
}
# What the frames' origin is, beside the seed and the step: kept with the trajectory, so that each row can tell it.
ABOUT = (
    'ensemble',
    'timestep_fs',
    'calculator_name',
    'model_name',
    'model_sha256',
    'device',
    'precision',
    'versions',
    'isolated_atom_energies_eV',
)


class ExplorationParser(Parser):
    """Reads what the job left in the retrieved files, never in the remote folder."""

    def parse(self, **kwargs: Any) -> ExitCode | None:
        """Attach result, frames, checkpoint and crash frames; return an exit code unless all is well."""
        try:
            text = self.retrieved.base.repository.get_object_content(contract.RESULT_FILE)
        except FileNotFoundError:
            # The scheduler may know better why (out of memory, wall time, node failure): its code stands then.
            return None if self.node.exit_status else self.exit_codes.ERROR_RESULT_MISSING
        try:
            result = contract.Result.model_validate_json(text)
        except ValidationError as error:
            return self.exit_codes.ERROR_RESULT_UNREADABLE.format(reason=_first_line(error))

        self.out('result', orm.Dict(result.model_dump(mode='json')))
        folder = Path(kwargs['retrieved_temporary_folder'])
        for label, name in (('checkpoint', contract.CHECKPOINT_FILE), ('crash', contract.CRASH_FILE)):
            if (folder / name).is_file():
                self.out(label, orm.SinglefileData(folder / name, filename=Path(name).name))
        return self._attach_frames(result, folder / contract.TRAJECTORY_FILE) or self._judge(result)

    def _attach_frames(self, result: contract.Result, path: Path) -> ExitCode | None:
        if not result.n_frames:
            return None
        if not path.is_file():
            return self.exit_codes.ERROR_TRAJECTORY_MISSING
        try:
            trajectory = read_trajectory(path, self.node.inputs.seed.seed_id)
        except Exception as error:  # whatever a torn binary file makes the reader raise
            return self.exit_codes.ERROR_TRAJECTORY_UNREADABLE.format(reason=_first_line(error))
        about = result.model_dump(mode='json', include=set(ABOUT))
        self.out('trajectory', node_from_trajectory(trajectory, result.timestep_fs or 0.0, about))
        return None

    def _judge(self, result: contract.Result) -> ExitCode | None:
        if result.outcome == 'completed':
            # Not ExitCode(0), which would hide what the scheduler reported.
            return None
        label = REFUSALS[result.refusal] if result.refusal else OUTCOMES[result.outcome]
        return getattr(self.exit_codes, label).format(reason=result.message)


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
