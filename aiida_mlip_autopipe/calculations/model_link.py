"""The model of a job. Its file is already on the computer and is linked into the job's folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from aiida import orm

from aiida_mlip_autopipe.calculators.base import ModelSettings
from aiida_mlip_autopipe.core.errors import ModelMissingError
from aiida_mlip_autopipe.data.model import ModelData
from aiida_mlip_autopipe.data.model_store import find_model
from aiida_mlip_autopipe.exploration import CALCULATORS
from aiida_mlip_autopipe.jobs.contract import MODEL_FOLDER

RemoteLink = tuple[str, str, str]


def link_model(
    calculator: dict[str, Any], model: ModelData | None, computer: orm.Computer
) -> tuple[dict[str, Any], list[RemoteLink]]:
    """Return a calculator's settings for the job, with its model, and the links that the job's folder needs.

    Parameters
    ----------
    calculator
        Settings of the calculator.
    model
        Its model; None for a calculator without one.
    computer
        The computer of the job.

    Raises
    ------
    ModelMissingError
        If the model is not on the computer.
    """
    if model is None:
        return calculator, []
    settings = {**calculator, 'model': model.name, 'model_sha256': model.sha256}
    if model.is_shipped:
        return settings, []
    placed = find_model(computer, model.sha256)
    if placed is None:
        raise ModelMissingError(model.sha256, computer.label)
    link = str(PurePosixPath(MODEL_FOLDER, model.name))
    return {**settings, 'model': link}, [(computer.uuid, placed, link)]


def has_model(kind: str) -> bool:
    """Return whether calculators of this kind have a model."""
    return kind in CALCULATORS and issubclass(CALCULATORS.load(kind).settings_class, ModelSettings)


def find_model_fault(inputs: Mapping[str, Any]) -> str | None:
    """Return the error in the model input of a job; None if it is valid or the inputs are incomplete."""
    if 'calculator' not in inputs or 'code' not in inputs:
        return None
    calculator, model = inputs['calculator'].get_dict(), inputs.get('model')
    kind = str(calculator.get('kind'))
    if {'model', 'model_sha256'} & calculator.keys():
        return 'calculator: contains a model; pass it as the input `model` (see `workflows.inputs.models.model_node`)'
    if model is None:
        missing = f'model: missing; the calculator {kind!r} needs one (see `workflows.inputs.models.model_node`)'
        return missing if has_model(kind) else None
    if model.architecture != kind:
        return f'model: this model is for the calculator {model.architecture!r}, not for {kind!r}'
    computer = inputs['code'].computer
    if not model.is_shipped and find_model(computer, model.sha256) is None:
        return (
            f'model: {model.name} is not on {computer.label}; copy it with `ensure_placed` of installation.models or '
            f"'mlip-autopipe calculator place FILE --computer {computer.label}'"
        )
    return None
