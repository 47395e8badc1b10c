"""Types of config fields that several subpackages use, and the codes of validation errors."""

from __future__ import annotations

import os
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    Field,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    WrapSerializer,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.hashing import file_sha256
from aiida_mlip_autopipe.core.settings import Settings

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
"""Key of the serialization context in which a file is dumped as the sha256 of its content."""

REPLACE_FILE = 'replace_file'
"""Key of the serialization or validation context with a function that replaces the path of each `InputFile`."""


def fault(code: Code, allowed: str, *, nearest: str | None = None) -> PydanticCustomError:
    """Return the error that a validator raises for an invalid value.

    Parameters
    ----------
    code
        The code of the fault.
    allowed
        What is allowed, as a phrase such as ``'must be the symbol of an element'``.
    nearest
        The most similar valid name, if a name was mistyped.
    """
    return PydanticCustomError('fault', '{allowed}', {'code': code, 'allowed': allowed, 'nearest': nearest})


def code_of(details: ErrorDetails) -> Code:
    """Return the code of a pydantic error.

    Parameters
    ----------
    details
        The error, from `pydantic.ValidationError.errors`.
    """
    error_type = details['type']
    if error_type == 'fault':
        return Code[details['ctx']['code'].upper()]
    if error_type.endswith(('_type', '_parsing')):
        return Code.TYPE_WRONG
    return _CODES.get(error_type, Code.VALUE_INVALID)


def _resolve_input_file(path: Path, info: ValidationInfo) -> Path:
    """Resolve a path against the folder of the config file, and refuse it if no such file exists.

    While a config file is read, the validation context contains the folder (``{'folder': Path}``). Without a context,
    as in a job or for settings created in Python, the path is neither changed nor checked. With a function
    `REPLACE_FILE`, the path is what this function returns.
    """
    if not info.context:
        return path
    if REPLACE_FILE in info.context:
        return Path(info.context[REPLACE_FILE](path))
    # Symbolic links are not followed, because the name in the config determines the file format.
    resolved = Path(os.path.abspath(info.context['folder'] / os.path.expanduser(path)))
    # Unlike the methods of `Path`, these functions accept paths that the file system refuses, such as names that are
    # too long.
    if not os.path.isfile(resolved):
        if os.path.isdir(resolved):
            raise fault(Code.NOT_A_FILE, 'must be a file, not a folder')
        folder = resolved.parent
        names = [entry.name for entry in folder.iterdir() if entry.is_file()] if os.path.isdir(folder) else []
        close = get_close_matches(resolved.name, names, n=1)
        nearest = str(path.with_name(close[0])) if close else None
        raise fault(Code.FILE_MISSING, f'no such file exists in {folder}', nearest=nearest)
    return resolved


def _resolve_model(model: str, info: ValidationInfo) -> str:
    """Resolve a model that is a path.

    A string that contains no slash and is not a file is a name, which the calculator checks.
    """
    if not info.context:
        return model
    is_name = '/' not in model and not os.path.isfile(info.context['folder'] / model)
    return model if is_name else str(_resolve_input_file(Path(model), info))


def _dump_file(path: Any, handler: SerializerFunctionWrapHandler, info: SerializationInfo) -> Any:
    if not (info.context and info.context.get(BY_CONTENT)):
        return handler(path)
    is_name = isinstance(path, str) and '/' not in path and not os.path.isfile(path)
    return handler(path) if is_name else f'sha256:{file_sha256(Path(path).expanduser())}'


def _dump_input_file(path: Path, handler: SerializerFunctionWrapHandler, info: SerializationInfo) -> Any:
    if info.context and REPLACE_FILE in info.context:
        return info.context[REPLACE_FILE](path)
    return _dump_file(path, handler, info)


def _check_one_line(text: str) -> str:
    if not text.isprintable():
        raise fault(Code.WRONG_PATTERN, 'must be one line of printable characters')
    return text


def _expand_home(path: Path) -> Path:
    return Path(os.path.expanduser(path))


OneLine = Annotated[str, AfterValidator(_check_one_line)]
"""Text for a line of a submission script or of a table."""

OutputFile = Annotated[Path, AfterValidator(_expand_home)]
"""A file to write; ``~`` is the home folder. A relative path is relative to the current directory."""

InputFile = Annotated[Path, AfterValidator(_resolve_input_file), WrapSerializer(_dump_input_file)]
"""A file that must exist; in a config file, its path is relative to the folder of that file."""

InputModel = Annotated[str, AfterValidator(_resolve_model), WrapSerializer(_dump_file)]
"""A model: a file, whose path is relative to the folder of the config file, or a name that the calculator supports."""


class FromCampaign(Settings):
    """The dataset of an earlier campaign."""

    campaign: str = Field(coerce_numbers_to_str=True, min_length=1)
    """The pk, uuid or name of the campaign. If several campaigns have this name, the newest is used. It must have
    finished when this campaign is submitted."""


ReferenceDataset = InputFile | FromCampaign
"""A reference dataset: a file in any format that ASE reads, or the dataset of an earlier campaign."""
