"""Consoles: results go to stdout, errors and progress to stderr. Output to files and pipes has no colours."""

from __future__ import annotations

import sys
from typing import Any

import typer
from rich.console import Console

# The width in a file or a pipe, where neither lines nor table cells are wrapped.
UNBROKEN = 1000

console = Console(highlight=False, width=None if sys.stdout.isatty() else UNBROKEN)
error_console = Console(stderr=True, highlight=False, soft_wrap=True)


def print_json(answer: Any) -> None:
    """Print a result as one JSON value on stdout, without colours."""
    from aiida_mlip_autopipe.core.plain import to_json

    typer.echo(to_json(answer))


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, such as ``1 row`` or ``2 rows``."""
    return f'{number} {noun}' if number == 1 else f'{number} {noun}s'
