"""Find the files of a job's models on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aiida import orm

from aiida_mlip_autopipe.calculations.model_link import MEMBER_MODELS
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.hashing import file_sha256
from aiida_mlip_autopipe.data.model import ModelData
from aiida_mlip_autopipe.data.model_store import find_model


def models_with_files(inputs: Mapping[str, Any]) -> list[ModelData]:
    """Return the models of a job for which it needs files. Packages ship the other ones."""
    models = [inputs.get('model'), *inputs.get(MEMBER_MODELS, {}).values()]
    return [model for model in models if model is not None and not model.is_shipped]


def refuse_unused_files(paths: Sequence[Path], jobs: Sequence[Mapping[str, Any]]) -> None:
    """Refuse model files that would not be used.

    Parameters
    ----------
    paths
        Files that the user gives.
    jobs
        The inputs of each job.

    Raises
    ------
    AutopipeError
        If a file is not the model of any job, and cannot be used instead of the only model of a job.
    """
    models = [models_with_files(inputs) for inputs in jobs]
    known = {model.sha256 for of_job in models for model in of_job}
    has_only_model = any(len(of_job) == 1 for of_job in models)
    for path in paths:
        if file_sha256(path) not in known and not has_only_model:
            named = ', '.join(sorted(known)) or 'no model file'
            raise AutopipeError(Code.VALUE_INVALID, f'--model: got {path}; the jobs of these rows use {named}')


class ModelFiles:
    """The files of a job's models: given, on this machine, or stored in AiiDA.

    A file whose sha256 differs is used only as a last resort.

    Parameters
    ----------
    inputs
        The inputs of the job.
    folder
        The folder for stored models.
    given
        Files that the user gives.

    Attributes
    ----------
    altered
        The files and nodes whose content differs from that of the model, as sentences.
    failure
        Which model is missing; empty if there is none.
    """

    def __init__(self, inputs: Mapping[str, Any], folder: Path, given: Sequence[Path]):
        self.altered: list[str] = []
        self.failure = ''
        self._found: dict[str, tuple[Path, str]] = {}
        self._given = {file_sha256(path): path.absolute() for path in given}
        files = models_with_files(inputs)
        for model in files:
            # A different file that the user gives for the only model is used instead of it.
            instead = next(iter(self._given.items()), None) if len(files) == 1 else None
            found = self._find_file(model, inputs['code'].computer, folder, instead)
            if found is None:
                self.failure = (
                    f'the model {model.name!r} with the sha256 {model.sha256} is not on this machine, and its bytes '
                    'are not stored; give its file with --model'
                )
                return
            self._found[model.sha256] = found

    def find(self, computer: orm.Computer, sha256: str) -> str | None:
        """Return the path of the file that is used for the model with this sha256."""
        return str(self._found[sha256][0]) if sha256 in self._found else None

    def actual_sha256(self, sha256: str | None) -> str | None:
        """Return the sha256 of the file that is used for the model with this sha256; None without a file."""
        return self._found[sha256][1] if sha256 in self._found else None

    def _find_file(
        self, model: ModelData, computer: orm.Computer, folder: Path, instead: tuple[str, Path] | None
    ) -> tuple[Path, str] | None:
        if model.sha256 in self._given:
            return self._given[model.sha256], model.sha256
        if instead is not None:
            return instead[1], instead[0]
        recorded = find_model(computer, model.sha256) if computer.transport_type == 'core.local' else None
        placed = None
        if recorded is not None and Path(recorded).is_file():
            placed = Path(recorded), file_sha256(Path(recorded))
            if placed[1] == model.sha256:
                return placed
            self.altered.append(f'the model file {recorded} was altered: its sha256 is {placed[1]}')
        if model.has_bytes:
            copy = folder / model.sha256
            copy.mkdir(exist_ok=True)
            path = model.write(copy)
            stored = path, file_sha256(path)
            if stored[1] == model.sha256 or placed is None:
                return stored
        return placed


def use_found_models(calculator: dict[str, Any], files: ModelFiles) -> dict[str, Any]:
    """Return the settings of a calculator with the sha256 of the files that are used for its models.

    A job refuses a model with another sha256. The settings of a shipped model need no sha256, because the result
    records it. Of a committee, the result records only that of the first member, so the other members need theirs.
    """
    settings = {**calculator}
    if 'model_sha256' in settings:
        settings['model_sha256'] = files.actual_sha256(settings['model_sha256'])
    for member in settings.get('members', ()):
        if (found := files.actual_sha256(member.get('model_sha256'))) is not None:
            member['model_sha256'] = found
    return settings
