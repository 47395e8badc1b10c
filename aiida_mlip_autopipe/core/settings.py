"""The base class of all settings models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, model_validator


class Settings(BaseModel):
    """A part of the config. It is frozen, and it refuses unknown keys and NaN. Docstrings describe its fields."""

    model_config = ConfigDict(
        frozen=True, extra='forbid', allow_inf_nan=False, use_attribute_docstrings=True, protected_namespaces=()
    )

    @model_validator(mode='before')
    @classmethod
    def _refuse_booleans(cls, data: Any) -> Any:
        """Keep pydantic from reading ``true`` as the number 1."""
        if not isinstance(data, Mapping):
            return data
        names = [name for name in _numeric_fields(cls) if name in data and _contains_boolean(data[name])]
        return {**data, **{name: _without_booleans(data[name]) for name in names}} if names else data


class BooleanText(str):
    """The text ``true`` or ``false``, in place of a boolean that was given for a number."""


@cache
def _numeric_fields(model: type[BaseModel]) -> tuple[str, ...]:
    """Return the fields whose values are or contain numbers but no booleans."""
    types = {name: set(_simple_types(field.annotation)) for name, field in model.model_fields.items()}
    return tuple(name for name, found in types.items() if found & {int, float} and bool not in found)


def _simple_types(annotation: Any) -> Iterator[Any]:
    arguments = get_args(annotation)
    if not arguments:
        yield annotation if isinstance(annotation, type) else type(None)
    for argument in arguments:
        yield from _simple_types(argument)


def _contains_boolean(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_contains_boolean, value.values()))
    return any(map(_contains_boolean, value)) if isinstance(value, list | tuple) else isinstance(value, bool)


def _without_booleans(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_booleans(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_booleans(item) for item in value]
    return BooleanText(str(value).lower()) if isinstance(value, bool) else value
