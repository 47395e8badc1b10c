"""Types of config fields that several subpackages share, and the wording of validation errors."""

from __future__ import annotations

import os
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, SerializationInfo, SerializerFunctionWrapHandler, ValidationInfo, WrapSerializer
from pydantic_core import ErrorDetails, PydanticCustomError

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.hashing import file_sha256

_CODES = {
    'missing': Code.VALUE_MISSING,
    'extra_forbidden': Code.KEY_UNKNOWN,
    'union_tag_not_found': Code.KIND_MISSING,
    'union_tag_invalid': Code.KIND_UNKNOWN,
    'literal_error': Code.CHOICE_UNKNOWN,
    'enum': Code.CHOICE_UNKNOWN,
    'int_from_float': Code.TYPE_WRONG,
    'int_parsing_size': Code.OUT_OF_RANGE,
    'finite_number': Code.OUT_OF_RANGE,
    'greater_than': Code.OUT_OF_RANGE,
    'greater_than_equal': Code.OUT_OF_RANGE,
    'less_than': Code.OUT_OF_RANGE,
    'less_than_equal': Code.OUT_OF_RANGE,
    'multiple_of': Code.OUT_OF_RANGE,
    'string_pattern_mismatch': Code.WRONG_PATTERN,
    'string_too_short': Code.WRONG_LENGTH,
    'string_too_long': Code.WRONG_LENGTH,
    'too_short': Code.WRONG_LENGTH,
    'too_long': Code.WRONG_LENGTH,
}

BY_CONTENT = 'by_content'
"""Key of the serialization context that has files dumped as the sha256 of their content, wherever they are."""


def fault(code: Code | str, allowed: str = '', *, nearest: str | None = None) -> PydanticCustomError:
    """Return what a validator raises for a bad value.

    A plain ``ValueError`` serves as well; this one also carries a code and the nearest valid name.

    Parameters
    ----------
    code
        The code of the fault.
    allowed
        What may stand there, as a phrase: ``'must be the symbol of an element'``.
    nearest
        The nearest valid name, where a name was mistyped.
    """
    if not allowed:  # TODO: the code becomes required.
        code, allowed = Code.VALUE_INVALID, code
    return PydanticCustomError('fault', '{allowed}', {'code': code, 'allowed': allowed, 'nearest': nearest})


def code_of(details: ErrorDetails) -> Code:
    """Return the code of one error of pydantic.

    Parameters
    ----------
    details
        The error, from `pydantic.ValidationError.errors`.
    """
    kind = details['type']
    if kind == 'fault':
        return Code[details['ctx']['code'].upper()]
    if kind.endswith(('_type', '_parsing')):
        return Code.TYPE_WRONG
    return _CODES.get(kind, Code.VALUE_INVALID)


def _resolve_input_file(path: Path, info: ValidationInfo) -> Path:
    """Resolve a path against the config file's folder, and refuse it if there is no such file.

    The folder is in the validation context (``{'folder': Path}``) while a config file is read. Without it, as in a
    job or for settings made in Python, the path is kept as it is and not looked for.
    """
    if not info.context:
        return path
    # Links are not followed: the name the user gave tells the format.
    resolved = Path(os.path.abspath(info.context['folder'] / path.expanduser()))
    if not resolved.is_file():
        folder = resolved.parent
        names = [entry.name for entry in folder.iterdir() if entry.is_file()] if folder.is_dir() else []
        close = get_close_matches(resolved.name, names, n=1)
        what = 'is a folder, not a file' if resolved.is_dir() else f'there is no such file in {folder}'
        code = Code.NOT_A_FILE if resolved.is_dir() else Code.FILE_MISSING
        raise fault(code, what, nearest=str(path.with_name(close[0])) if close else None)
    return resolved


def _resolve_model(model: str, info: ValidationInfo) -> str:
    """Resolve what is a path; a plain word that is no file is a name, which the calculator knows or refuses."""
    if not info.context:
        return model
    is_name = '/' not in model and not (info.context['folder'] / model).is_file()
    return model if is_name else str(_resolve_input_file(Path(model), info))


def _dump_file(path: Any, handler: SerializerFunctionWrapHandler, info: SerializationInfo) -> Any:
    if not (info.context and info.context.get(BY_CONTENT)):
        return handler(path)
    is_name = isinstance(path, str) and '/' not in path and not Path(path).is_file()
    return handler(path) if is_name else f'sha256:{file_sha256(Path(path).expanduser())}'


InputFile = Annotated[Path, AfterValidator(_resolve_input_file), WrapSerializer(_dump_file)]
"""A file that must exist; in a config file its path is relative to the config file's folder."""

InputModel = Annotated[str, AfterValidator(_resolve_model), WrapSerializer(_dump_file)]
"""A model: a file, whose path is relative to the config file's folder, or a name that the calculator knows."""
