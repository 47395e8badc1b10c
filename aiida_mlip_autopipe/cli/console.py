"""Consoles: results go to stdout, errors and progress to stderr.

Output to files and pipes has no colours, and no spaces at the ends of lines.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, cast

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from aiida_mlip_autopipe.core.wording import printable

# The width in a file or a pipe, where neither lines nor table cells are wrapped.
UNBROKEN = 1000


class SafeConsole(Console):
    """A console that escapes control characters in texts, so that a file cannot control the terminal."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """Yield the parts of a renderable."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))

    @property
    def file(self) -> IO[str]:
        """The file that the console writes to. If it is not a terminal, no line ends in spaces."""
        found = super().file
        return found if found.isatty() else cast('IO[str]', _WithoutPadding(found))

    @file.setter
    def file(self, file: IO[str]) -> None:
        self._file = file


class _WithoutPadding:
    """A file that omits the spaces with which a table pads its last column."""

    def __init__(self, file: IO[str]):
        self._file = file

    def write(self, text: str) -> int:
        # Rich writes all lines of a table at once.
        return self._file.write(re.sub(' +(?=\n)', '', text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


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
