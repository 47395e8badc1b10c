"""Consoles: results go to stdout, errors and progress to stderr. Output to files and pipes has no colours."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

# The width in a file or a pipe, where neither lines nor table cells are wrapped.
UNBROKEN = 1000

# Control characters except tab and newline, and the characters that change the direction of text.
_CONTROL = re.compile('[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]')


class SafeConsole(Console):
    """A console that escapes control characters in texts, so that a file cannot control the terminal."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """Yield the parts of a renderable."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))


def printable(text: str) -> str:
    """Return a text in which control characters are escaped."""
    return _CONTROL.sub(lambda match: ascii(match[0])[1:-1], text)


console = SafeConsole(highlight=False, width=None if sys.stdout.isatty() else UNBROKEN)
error_console = SafeConsole(stderr=True, highlight=False, soft_wrap=True)


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
