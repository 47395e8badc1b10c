"""Numbers in messages."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, such as ``1 row`` or ``2 rows``."""
    return f'{number} {noun}' if number == 1 else f'{number} {noun}s'
