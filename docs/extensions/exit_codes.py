"""The exit codes of the package's processes, as their classes define them."""

from __future__ import annotations

from importlib.metadata import entry_points
from inspect import isclass

from aiida.engine import CalcJob, Process

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


def _section(name: str, process: type[Process]) -> str:
    codes = sorted(process.spec().exit_codes.items(), key=lambda item: item[1].status)
    # AiiDA's cache holds no work chains.
    is_cached = issubclass(process, CalcJob)
    rows = [['status', 'label', 'message', *(['taken from cache'] if is_cached else [])]]
    rows.append(['---'] * len(rows[0]))
    for label, code in codes:
        if code.status >= FIRST_STATUS:
            cached = ['no' if code.invalidates_cache else 'yes'] if is_cached else []
            rows.append([str(code.status), f'`{label}`', ' '.join(code.message.split()), *cached])
    table = '\n'.join(f'| {" | ".join(row)} |' for row in rows)
    return f'## {process.__name__}\n\nEntry point `{name}`.\n\n{table}'
