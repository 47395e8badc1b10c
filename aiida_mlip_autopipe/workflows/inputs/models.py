"""The models of a campaign: their nodes, and their files on the computers of the codes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from aiida import orm

from aiida_mlip_autopipe.calculations.model_link import member_name
from aiida_mlip_autopipe.calculators.base import CalculatorLoader, ModelSettings
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError, ModelMissingError
from aiida_mlip_autopipe.core.hashing import file_sha256
from aiida_mlip_autopipe.data.model import ModelData, find_model_node
from aiida_mlip_autopipe.exploration import CALCULATORS, CalculatorRefusedError, CalculatorSettings
from aiida_mlip_autopipe.installation.codes import RECORDED, is_local, read_tested_models, self_test, store_self_test
from aiida_mlip_autopipe.installation.models import ensure_placed

if TYPE_CHECKING:
    from aiida_mlip_autopipe.workflows.inputs.job_code import JobCode


def model_node(
    settings: CalculatorSettings, code: orm.AbstractCode, *, test_file: bool = True, place: str = 'calculator'
) -> ModelData | None:
    """Return the node of a calculator's model; None for a calculator without a model.

    Parameters
    ----------
    settings
        The settings of the calculator.
    code
        The code of the calculator.
    test_file
        Whether to test a file with a local code that has not been tested with it, so that a broken file is refused
        before any job starts.
    place
        The place of the settings in the config, for messages.

    Returns
    -------
    ModelData or None
        A stored node with the same content if one exists, otherwise a new node that is not stored.

    Raises
    ------
    ModelMissingError
        If the file is missing, and no node with its sha256 is stored.
    AutopipeError
        If the file or the shipped model does not exist, its sha256 is unknown or wrong, or it cannot be loaded.
    """
    if not isinstance(settings, ModelSettings):
        return None
    loader = CALCULATORS.make(settings)
    if loader.uses_shipped_model:
        sha256 = _shipped_sha256(settings, loader, code, place)
        facts = read_tested_models(code).get(sha256)
        node = ModelData.from_shipped(settings.model.lower(), sha256, settings.kind, facts=facts)
        return _find_stored_equal(node) or node
    try:
        path = loader.model_file()
    except CalculatorRefusedError as refused:
        return _known_node(settings, code, refused)
    sha256 = file_sha256(path)
    if settings.model_sha256 not in (None, sha256):
        raise CalculatorRefusedError(
            Code.MODEL_MISMATCH, f'{place}.model_sha256: {path} has the sha256 {sha256}, not {settings.model_sha256}'
        )
    if test_file and sha256 not in read_tested_models(code) and is_local(code):
        # The self-test determines the device.
        calculator = settings.model_dump(mode='json', exclude={'store_model', 'device'})
        store_self_test(code, calculator, self_test(calculator, code))
    facts = read_tested_models(code).get(sha256)
    node = ModelData.from_file(path, settings.kind, store_bytes=settings.store_model, facts=facts)
    return _find_stored_equal(node) or node


def member_models(settings: CalculatorSettings, code: orm.AbstractCode) -> dict[str, ModelData]:
    """Return the nodes of the models of a committee by the names of its members; empty for another calculator.

    Parameters
    ----------
    settings
        The settings of the calculator.
    code
        The code of the calculator.

    Raises
    ------
    AutopipeError
        For any of the reasons given in `model_node`.
    """
    nodes = {
        name: model_node(member, code, place=f'calculator.members[{number}]')
        for number, (name, member) in enumerate(_members_of(settings))
    }
    return {name: node for name, node in nodes.items() if node is not None}


def place_models(codes: Iterable[JobCode], notify: Callable[[str], None]) -> None:
    """Copy the models of each code to its computer, unless they are already there; jobs link to them.

    Parameters
    ----------
    codes
        The codes of a campaign.
    notify
        Called with a message for each model that was copied.

    Raises
    ------
    AutopipeError
        For any of the reasons given in `ensure_placed`.
    """
    for one in codes:
        for model, file in _models_and_files(one):
            placed = ensure_placed(model, one.code, file)
            if placed is not None and placed[1]:
                notify(f'model {model.name}: copied to {placed[0]} on {one.code.computer.label}')


def _models_and_files(one: JobCode) -> Iterator[tuple[ModelData, Path]]:
    """Yield the models of a code, each with the path in the settings."""
    members = [(one.member_models.get(name), member) for name, member in _members_of(one.calculator)]
    for model, settings in [(one.model, one.calculator), *members]:
        if model is not None:
            yield model, Path(settings.model).expanduser()  # type: ignore[attr-defined]


def _members_of(settings: CalculatorSettings) -> list[tuple[str, CalculatorSettings]]:
    return [(member_name(number), member) for number, member in enumerate(getattr(settings, 'members', ()))]


def _shipped_sha256(settings: ModelSettings, loader: CalculatorLoader, code: orm.AbstractCode, place: str) -> str:
    """Return the sha256 of a shipped model: from the code's self-test, otherwise from the package on this machine."""
    if settings.model_sha256 is not None:
        return settings.model_sha256
    name = settings.model.lower()
    tested = read_tested_models(code)
    known = [sha256 for sha256, facts in tested.items() if facts['shipped'] and facts['name'] == name]
    if known:
        return max(known, key=lambda sha256: str(tested[sha256][RECORDED]))
    try:
        return file_sha256(loader.model_file())
    except CalculatorRefusedError as refused:
        if refused.code != Code.CALCULATOR_MISSING:
            raise
        raise AutopipeError(
            Code.VALUE_MISSING,
            f'{place}.model_sha256: missing; the sha256 of the shipped model {settings.model!r} is unknown here '
            f"({refused}); set it, or register the code again with '--model {settings.model}', which records it",
        ) from refused


def _known_node(settings: ModelSettings, code: orm.AbstractCode, refused: CalculatorRefusedError) -> ModelData:
    """Return the stored node of a model whose file is missing, by the sha256 in the settings."""
    if settings.model_sha256 is None:
        raise refused
    node = find_model_node(settings.kind, settings.model_sha256)
    if node is None:
        raise ModelMissingError(settings.model_sha256, code.computer.label) from refused
    return node


def _find_stored_equal(node: ModelData) -> ModelData | None:
    """Return the stored node of the same model, so that campaigns share it; None if none is stored."""
    same = {'attributes.architecture': node.architecture, 'attributes.sha256': node.sha256}
    found = orm.QueryBuilder().append(ModelData, filters=same).all(flat=True)
    return next((one for one in found if one.base.attributes.all == node.base.attributes.all), None)
