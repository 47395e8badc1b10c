"""Text from other programs and from users, as Markdown."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Any


def escape(value: Any) -> Any:
    """Return a value whose strings, at any depth, contain no HTML, no separators of table cells and no line breaks.

    Parameters
    ----------
    value
        A string, or mappings and lists that contain strings. Other values are not changed.
    """
    if isinstance(value, Mapping):
        return {escape(key): escape(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [escape(item) for item in value]
    if not isinstance(value, str):
        return value
    one_line = ''.join(character if character.isprintable() else ' ' for character in value)
    return html.escape(one_line, quote=False).replace('|', r'\|').replace('`', r'\`')


def fenced(text: str, language: str) -> list[str]:
    """Return the lines of a code block whose fence is longer than any in the text, which therefore cannot close it."""
    fence = '`' * max(3, 1 + max(map(len, re.findall('`+', text)), default=0))
    return [f'{fence}{language}', text.rstrip(), fence]
