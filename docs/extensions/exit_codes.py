"""The exit codes of the package's processes, as their classes define them."""

from __future__ import annotations

from importlib.metadata import entry_points
from inspect import isclass
from typing import Any

from aiida.engine import Process

# Below it are the codes that AiiDA gives to every process.
FIRST_STATUS = 100


def render_exit_codes() -> str:
    """Return a section for each process class among the package's entry points, as Markdown."""
    found = {
        point.name: point.load()
        for group in ('aiida.calculations', 'aiida.workflows')
        for point in entry_points(group=group)
        if point.value.startswith('aiida_mlip_autopipe.')
    }
    # A calcfunction among them is no class; it has no exit code of its own in a specification.
    processes = {name: one for name, one in found.items() if isclass(one) and issubclass(one, Process)}
    return '\n\n'.join(_section(name, process) for name, process in sorted(processes.items())) + '\n'


def _section(name: str, process: type[Any]) -> str:
    codes = sorted(process.spec().exit_codes.values(), key=lambda code: code.status)
    rows = [
        f'| {code.status} | {"" if code.invalidates_cache else "yes"} | {_cell(code.message)} |'
        for code in codes
        if code.status >= FIRST_STATUS
    ]
    head = ['| status | reused from cache | message |', '|---|---|---|']
    return '\n'.join([f'## {process.__name__}', '', f'Entry point `{name}`.', '', *head, *rows])


def _cell(text: str) -> str:
    return text.replace('|', '\\|').replace('\n', ' ')
