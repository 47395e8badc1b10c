"""Conversion of dataclasses to JSON, the format in which the program passes results to other programs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from pathlib import PurePath
from typing import Any

import numpy as np

from aiida_mlip_autopipe.core.settings import Settings


def to_json(value: Any) -> str:
    """Return a result as JSON text; see `to_plain`."""
    return json.dumps(to_plain(value), indent=2, ensure_ascii=False, allow_nan=False)


def to_plain(value: Any) -> Any:
    """Return a result as dicts, lists, strings, numbers, booleans and None.

    Dataclasses and settings become dicts of their fields. Dates become ISO 8601 strings with the UTC offset. Paths
    become strings. Numbers that are not finite become None. Durations must be numbers of seconds, in fields whose names
    end in ``_s``.

    Raises
    ------
    TypeError
        If the result contains any other type.
    """
    if isinstance(value, Settings):
        return value.model_dump(mode='json')
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [to_plain(item) for item in value]
    if isinstance(value, datetime):
        return value.astimezone().isoformat()
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, np.generic):
        return to_plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | bool | int):
        return value
    raise TypeError(f'{type(value).__name__} cannot be converted to JSON')
