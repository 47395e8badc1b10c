"""Consoles: results go to stdout, errors and progress to stderr. Output to files and pipes has no colours."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console

# The width in a file or a pipe, where neither lines nor table cells are wrapped.
UNBROKEN = 1000

console = Console(highlight=False, width=None if sys.stdout.isatty() else UNBROKEN)
error_console = Console(stderr=True, highlight=False, soft_wrap=True)


@contextmanager
def long_work(text: str) -> Iterator[None]:
    """Show the progress of generation in the terminal within the block."""
    from aiida_mlip_autopipe.generation import progress_shown

    if not error_console.is_terminal:
        yield
        return
    with error_console.status(text) as status, progress_shown(lambda done: status.update(f'{text}: {done}')):
        yield


def print_json(answer: Any) -> None:
    """Print a result as one JSON value on stdout, without colours."""
    from aiida_mlip_autopipe.core.plain import to_json

    typer.echo(to_json(answer))
