"""Numbers in messages, and text from outside the program."""

from __future__ import annotations

import re
from collections.abc import Iterable

# Control characters except tab and newline, and the characters that change the direction of text.
_CONTROL = re.compile('[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]')


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, such as ``1 row`` or ``2 rows``."""
    if number == 1:
        return f'{number} {noun}'
    return f'{number} {noun}es' if noun.endswith('s') else f'{number} {noun}s'


def one_of(names: Iterable[str]) -> str:
    """Return a choice, such as ``a`` if it is the only one, or ``one of a, b``."""
    listed = list(names)
    return ', '.join(listed) if len(listed) == 1 else f'one of {", ".join(listed)}'


def printable(text: str) -> str:
    """Return a text in which control characters are escaped."""
    return _CONTROL.sub(lambda match: ascii(match[0])[1:-1], text)
