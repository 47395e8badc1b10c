"""Render tables of the error codes and of the exit codes of processes, from the code."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from importlib.metadata import entry_points
from itertools import pairwise

from aiida.engine import CalcJob, ExitCode, Process

from aiida_mlip_autopipe.calculations.job import CalculatorJob
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.exit_codes import explain

# AiiDA defines the lower codes for every process.
FIRST_STATUS = 100


def render_codes() -> str:
    """Return a Markdown table for each group of `Code`. The first sentence of a comment is the title of its group."""
    parts = []
    for before, line in pairwise(inspect.getsource(Code).splitlines()):
        if not before and (group := re.match(r' {4}# ([^.]*)', line)):
            parts.append((group[1], []))
        elif member := re.match(r' {4}([A-Z]\w*) = ', line):
            parts[-1][1].append(Code[member[1]])
    header = ['code', 'meaning', 'what to do']
    return '\n\n'.join(
        f'### {group}\n\n{_table(header, ([f"`{code}`", code.meaning, code.remedy] for code in codes))}'
        for group, codes in parts
        if codes
    )


def render_exit_codes() -> str:
    """Return Markdown sections for all jobs, for all subclasses of `CalculatorJob`, and for each process."""
    found = dict(processes())
    jobs = [process for process in found.values() if issubclass(process, CalcJob)]
    shared = set.intersection(*(set(_codes(job)) for job in jobs))
    with_calculator = set(_codes(CalculatorJob)) - shared
    sections = [
        f'### Every job\n\n{_exit_codes(jobs[0], shared)}',
        '### Explorations, evaluations, labels, descriptors, selections and training\n\n'
        f'{_exit_codes(CalculatorJob, with_calculator)}',
    ]
    for name, process in sorted(found.items()):
        common = shared | with_calculator if issubclass(process, CalcJob) else set()
        further = {label for label in _codes(process) if label not in common or _is_special(process, label)}
        if further:
            sections.append(f'### {process.__name__}\n\nEntry point `{name}`.\n\n{_exit_codes(process, further)}')
    return '\n\n'.join(sections)


def processes() -> Iterable[tuple[str, type[Process]]]:
    """Yield each process class of the package with its entry point. Calcfunctions have no exit codes."""
    for group in ('aiida.calculations', 'aiida.workflows'):
        for point in entry_points(group=group):
            if point.value.startswith('aiida_mlip_autopipe.'):
                process = point.load()
                if inspect.isclass(process) and issubclass(process, Process):
                    yield point.name, process


def _is_special(process: type[Process], label: str) -> bool:
    """Return whether an exit code that all jobs share means something else for this job."""
    return explain(process.__name__, label) != explain(CalculatorJob.__name__, label)


def _codes(process: type[Process]) -> dict[str, ExitCode]:
    return {label: code for label, code in process.spec().exit_codes.items() if code.status >= FIRST_STATUS}


def _exit_codes(process: type[Process], labels: set[str]) -> str:
    # AiiDA does not cache work chains.
    is_cached = issubclass(process, CalcJob)
    header = ['status', 'label', 'meaning', 'what to do', *(['taken from cache'] if is_cached else [])]
    codes = _codes(process)
    rows = []
    for label in sorted(labels, key=lambda label: codes[label].status):
        cached = ['no' if codes[label].invalidates_cache else 'yes'] if is_cached else []
        rows.append([str(codes[label].status), f'`{label}`', *explain(process.__name__, label), *cached])
    return _table(header, rows)


def _table(header: list[str], rows: Iterable[list[str]]) -> str:
    lines = [header, ['---'] * len(header), *rows]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)
