"""The text of a fault: its place, the value in the file and the allowed values."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from aiida_mlip_autopipe.core.errors import AutopipeError, CombinedError, Fault
from aiida_mlip_autopipe.core.fields import code_of
from aiida_mlip_autopipe.core.settings import BooleanText
from aiida_mlip_autopipe.core.wording import one_of

WHOLE = 'the file'
"""The path of a fault that concerns all of the validated data."""

_LONGEST_VALUE = 60

_PHRASES = {
    'missing': 'a value is required',
    'int_type': 'must be an integer',
    'int_parsing': 'must be an integer',
    'int_from_float': 'must be an integer',
    'int_parsing_size': 'must be a smaller integer',
    'float_type': 'must be a number',
    'float_parsing': 'must be a number',
    'finite_number': 'must be a finite number',
    'string_type': 'must be a string',
    'bool_type': 'must be true or false',
    'bool_parsing': 'must be true or false',
    'path_type': 'must be a path',
    'dict_type': 'must be a mapping',
    'mapping_type': 'must be a mapping',
    'model_type': 'must be a mapping',
    'model_attributes_type': 'must be a mapping',
    'list_type': 'must be a list',
    'tuple_type': 'must be a list',
    'greater_than': 'must be above {gt:g}',
    'greater_than_equal': 'must be at least {ge:g}',
    'less_than': 'must be below {lt:g}',
    'less_than_equal': 'must be at most {le:g}',
    'multiple_of': 'must be a multiple of {multiple_of:g}',
    'string_pattern_mismatch': 'must match the pattern {pattern}',
    'string_too_short': 'must have at least {min_length} characters',
    'string_too_long': 'must have at most {max_length} characters',
    'too_short': 'must have at least {min_length} entries',
    'too_long': 'must have at most {max_length} entries',
    'fault': '{allowed}',
}
OTHER_TYPE = frozenset(name for name in _PHRASES if name.endswith(('_type', '_parsing')))
"""Types of pydantic's errors for a value of the wrong type."""


def make_fault(details: ErrorDetails, path: Sequence[str | int], model: type[BaseModel]) -> Fault:
    """Return the fault for a pydantic error.

    Parameters
    ----------
    details
        The error.
    path
        Its place in the file.
    model
        The model of the file.
    """
    error_type, given, context = details['type'], details['input'], details.get('ctx', {})
    code, where, text = code_of(details), path_text(path), value_text(given)
    match error_type:
        case 'missing':
            return Fault(code, where, 'nothing', _PHRASES[error_type])
        case 'extra_forbidden':
            keys = _known_keys(model, details['loc'])
            allowed = f'no such key exists here; use {one_of(keys)}'
            return Fault(code, where, text, allowed, _nearest(path[-1], keys))
        case 'union_tag_not_found':
            return Fault(code, f'{where}.kind', 'nothing', _one_of(_known_kinds(model, details['loc'])))
        case 'union_tag_invalid':
            kinds = _known_kinds(model, details['loc'])
            return Fault(
                code, f'{where}.kind', value_text(given['kind']), _one_of(kinds), _nearest(given['kind'], kinds)
            )
        case 'literal_error' | 'enum':
            names = re.findall(r"'([^']*)'", context['expected']) or [context['expected']]
            return Fault(code, where, text, _one_of(names), _nearest(given, names))
        case 'value_error' | 'assertion_error':
            return Fault(code, where, text, str(context['error']))
        case 'string_type' if isinstance(given, bool | int | float):
            return Fault(code, where, text, f'{_PHRASES[error_type]}; quote it')
        case _ if error_type in _PHRASES:
            allowed = _PHRASES[error_type].format(**context)
            allowed = allowed.replace(' 1 entries', ' one entry').replace(' 1 characters', ' one character')
            return Fault(code, where, text, allowed, context.get('nearest'))
        case _:
            return Fault(code, where, text, details['msg'][:1].lower() + details['msg'][1:])


def combine_faults(error: ValidationError, model: type[BaseModel], *places: str) -> CombinedError:
    """Return one error that lists all invalid settings, each with its code, its place, its value and what is allowed.

    Parameters
    ----------
    error
        The validation error.
    model
        The model of the settings.
    places
        Where the settings are, such as a file name.
    """
    faults = [make_fault(details, details['loc'], model) for details in error.errors()]
    return CombinedError([AutopipeError(fault.code, ': '.join([*places, str(fault)])) for fault in faults])


def path_text(path: Sequence[str | int]) -> str:
    """Return a path as it is written in an override, such as ``generation[0].elements``."""
    text = ''.join(f'[{key}]' if isinstance(key, int) else f'.{key}' for key in path)
    return text.removeprefix('.') or WHOLE


def value_text(value: Any) -> str:
    """Return a value as it is written in the file or, if it is long, its type and size."""
    if isinstance(value, BooleanText):
        return str(value)
    if isinstance(value, str):
        return repr(value if len(value) <= _LONGEST_VALUE else f'{value[:_LONGEST_VALUE]}…')
    text = json.dumps(value, ensure_ascii=False, default=str)
    if isinstance(value, Mapping | Sequence):
        text = re.sub(r'"([\w.+-]+)"', r'\1', text)
        if len(text) > _LONGEST_VALUE:
            entries = 'one entry' if len(value) == 1 else f'{len(value)} entries'
            return f'{"a mapping" if isinstance(value, Mapping) else "a list"} of {entries}'
    return text


def _nearest(given: Any, names: Sequence[str]) -> str | None:
    if not isinstance(given, str):
        return None
    by_lower = {name.lower(): name for name in names}
    close = get_close_matches(given.lower(), by_lower, n=1)
    return by_lower[close[0]] if close else None


def _one_of(names: Sequence[str]) -> str:
    return f'must be {one_of(names)}'


def _models(annotation: Any) -> list[type[BaseModel]]:
    """Return the models in an annotation, at any depth of unions, lists and `Annotated`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) is Literal:
        return []
    return [model for argument in get_args(annotation) for model in _models(argument)]


def _models_at(model: type[BaseModel], location: Sequence[str | int]) -> list[type[BaseModel]]:
    """Return the models at a location from pydantic, which includes the members of unions."""
    models = [model]
    for key in location:
        if isinstance(key, int):
            continue
        members = [one for one in models if key in (one.__name__, _kind_of(one))]
        fields = [one.model_fields[key].annotation for one in models if key in one.model_fields]
        models = members or [inner for annotation in fields for inner in _models(annotation)] or models
    return models


def _kind_of(model: type[BaseModel]) -> str | None:
    field = model.model_fields.get('kind')
    names = get_args(field.annotation) if field is not None and get_origin(field.annotation) is Literal else ()
    return names[0] if names else None


def _known_keys(model: type[BaseModel], location: Sequence[str | int]) -> list[str]:
    models = _models_at(model, location[:-1])
    return list(dict.fromkeys(key for one in models for key in one.model_fields))


def _known_kinds(model: type[BaseModel], location: Sequence[str | int]) -> list[str]:
    return [kind for one in _models_at(model, location) if (kind := _kind_of(one)) is not None]
