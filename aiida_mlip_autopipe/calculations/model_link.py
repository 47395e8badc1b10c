"""The models of a job. Their files are already on the computer and are linked into the job's folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any

from aiida import orm
from aiida.engine import CalcJobProcessSpec

from aiida_mlip_autopipe.calculators.base import OF_THE_MODEL, ModelSettings
from aiida_mlip_autopipe.core.errors import ModelMissingError
from aiida_mlip_autopipe.data.model import ModelData
from aiida_mlip_autopipe.data.model_store import find_model
from aiida_mlip_autopipe.exploration import CALCULATORS
from aiida_mlip_autopipe.jobs.contract import MODEL_FOLDER

RemoteLink = tuple[str, str, str]
Find = Callable[[orm.Computer, str], str | None]
MEMBER_MODELS = 'member_models'
HOW_TO_PASS = '(see `workflows.inputs.models`)'  # nosec B105: not a password


def define_models(spec: CalcJobProcessSpec, model_help: str) -> None:
    """Define the inputs for the model of a calculator and for those of the members of a committee."""
    spec.input('model', valid_type=ModelData, required=False, help=model_help)
    spec.input_namespace(
        MEMBER_MODELS,
        valid_type=ModelData,
        required=False,
        help='The models of the members of a committee, each by the name of its member, such as `member_0`.',
    )


def member_name(number: int) -> str:
    """Return the name of a member of a committee in the inputs of a job. The first member is number 0."""
    return f'member_{number}'


def link_models(
    calculator: dict[str, Any], inputs: Mapping[str, Any], computer: orm.Computer, find: Find = find_model
) -> tuple[dict[str, Any], list[RemoteLink]]:
    """Return a calculator's settings for the job, with all models, and the links that the job's folder needs.

    Parameters
    ----------
    calculator
        Settings of the calculator.
    inputs
        The inputs of the job, of which `define_models` defines the models.
    computer
        The computer of the job.
    find
        Returns the absolute path of the model with this sha256; None if it is missing.

    Raises
    ------
    ModelMissingError
        If a model is not on the computer.
    """
    settings, links = link_model(calculator, inputs.get('model'), computer, find=find)
    models, members = inputs.get(MEMBER_MODELS, {}), []
    for name, member in _members_of(settings):
        folder = str(PurePosixPath(MODEL_FOLDER, name))
        linked, further = link_model(member, models.get(name), computer, folder, find)
        members.append(linked)
        links += further
    return ({**settings, 'members': members} if members else settings), links


def link_model(
    calculator: dict[str, Any],
    model: ModelData | None,
    computer: orm.Computer,
    folder: str = MODEL_FOLDER,
    find: Find = find_model,
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
    folder
        The subfolder of the job for the link.
    find
        Returns the absolute path of the model with this sha256; None if it is missing.

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
    placed = find(computer, model.sha256)
    if placed is None:
        raise ModelMissingError(model.sha256, computer.label)
    link = str(PurePosixPath(folder, model.name))
    return {**settings, 'model': link}, [(computer.uuid, placed, link)]


def has_model(kind: str) -> bool:
    """Return whether calculators of this kind have a model."""
    return kind in CALCULATORS and issubclass(CALCULATORS.load(kind).settings_class, ModelSettings)


def fill_in_models(calculator: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a calculator with a name and the sha256 of each model, so that they can be validated."""
    settings = _fill_in_model(calculator, inputs.get('model'), 'model')
    models = inputs.get(MEMBER_MODELS, {})
    members = [_fill_in_model(member, models.get(name), name) for name, member in _members_of(settings)]
    return {**settings, 'members': members} if members else settings


def find_model_fault(inputs: Mapping[str, Any]) -> str | None:
    """Return the errors in the models of a job; None if they are valid or the inputs are incomplete."""
    if 'calculator' not in inputs or 'code' not in inputs:
        return None
    calculator, computer = inputs['calculator'].get_dict(), inputs['code'].computer
    models, members = inputs.get(MEMBER_MODELS, {}), dict(_members_of(calculator))
    found = [_find_fault('model', calculator, inputs.get('model'), computer)]
    found += [_find_fault(f'{MEMBER_MODELS}.{name}', one, models.get(name), computer) for name, one in members.items()]
    found += [f'{MEMBER_MODELS}.{name}: the calculator has no such member' for name in models if name not in members]
    return '\n'.join(fault for fault in found if fault) or None


def _members_of(calculator: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return the settings of the members of a committee with their names; an empty list for another calculator."""
    members = calculator.get('members') or []
    return [(member_name(number), member) for number, member in enumerate(members) if isinstance(member, dict)]


def _fill_in_model(calculator: Mapping[str, Any], model: ModelData | None, name: str) -> dict[str, Any]:
    if not has_model(str(calculator.get('kind'))):
        return dict(calculator)
    sha256 = {} if model is None else {'model_sha256': model.sha256}
    return {'model': name, **sha256, **calculator}


def _find_fault(
    place: str, calculator: Mapping[str, Any], model: ModelData | None, computer: orm.Computer
) -> str | None:
    kind = str(calculator.get('kind'))
    if OF_THE_MODEL & calculator.keys():
        return f'calculator: contains a model; pass it as the input `{place}` {HOW_TO_PASS}'
    if model is None:
        return f'{place}: missing; the calculator {kind!r} needs one {HOW_TO_PASS}' if has_model(kind) else None
    if model.architecture != kind:
        return f'{place}: this model is for the calculator {model.architecture!r}, not for {kind!r}'
    if not model.is_shipped and find_model(computer, model.sha256) is None:
        return (
            f'{place}: {model.name} is not on {computer.label}; copy it with `ensure_placed` of installation.models or '
            f"'mlip-autopipe calculator place FILE --computer {computer.label}'"
        )
    return None
