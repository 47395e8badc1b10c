"""Where output goes: answers to stdout, errors and progress to stderr; no colours in a file or a pipe."""

from __future__ import annotations

import sys
from typing import Any

import typer
from rich.console import Console

# A file or a pipe has no width: neither lines nor the cells of tables are broken there.
UNBROKEN = 1000

console = Console(highlight=False, width=None if sys.stdout.isatty() else UNBROKEN)
error_console = Console(stderr=True, highlight=False, soft_wrap=True)


def print_json(answer: Any) -> None:
    """Print a result for another program: one JSON value on stdout, without colours."""
    from aiida_mlip_autopipe.core.plain import to_json

    typer.echo(to_json(answer))
