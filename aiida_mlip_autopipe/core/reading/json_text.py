"""Strict reading of JSON."""

from __future__ import annotations

import json
from math import isfinite
from typing import Any

MAX_BITS = 64


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text.

    Parameters
    ----------
    text
        The text, or its bytes in UTF-8.

    Raises
    ------
    ValueError
        If it is not valid JSON, is nested too deeply, or has a number that is not finite, such as ``NaN`` or ``1e999``,
        or an integer with more than 64 bits.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode()
        return json.loads(text, parse_constant=_finite, parse_float=_finite, parse_int=_bounded)
    except RecursionError:
        raise ValueError('its values are nested too deeply') from None


def _bounded(text: str) -> int:
    number = int(text)
    if number.bit_length() > MAX_BITS:
        raise ValueError(f'it contains an integer with {number.bit_length()} bits')
    return number


def _finite(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ValueError(f'it contains {text}, which is not a finite number')
    return number
