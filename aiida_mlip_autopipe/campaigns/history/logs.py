"""The last lines of what a process wrote: the output of a job, its traceback, or the exception of a process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aiida import orm

MAX_LINES = 8
"""Maximum number of lines of an excerpt."""


@dataclass(frozen=True)
class LogExcerpt:
    """The end of a text that a process left.

    Attributes
    ----------
    name
        The name of the file, ``traceback`` for that of the job, or ``report`` for the error that AiiDA reported.
    lines
        Its last lines.
    """

    name: str
    lines: tuple[str, ...]


def read_logs(pk: int) -> tuple[LogExcerpt, ...]:
    """Return the ends of the texts that a process left, the most useful one first.

    Parameters
    ----------
    pk
        The process.
    """
    node: Any = orm.load_node(pk)
    texts: dict[str, str | None] = {'report': _last_error(pk) or node.exception}
    if isinstance(node, orm.CalcJobNode):
        result = node.base.links.get_outgoing(link_label_filter='result').first()
        texts['traceback'] = result.node.get('traceback', None) if result else None
        texts |= _output(node)
    return tuple(
        LogExcerpt(name, tuple(lines[-MAX_LINES:]))
        for name, text in texts.items()
        if (lines := [line.rstrip() for line in (text or '').splitlines() if line.strip()])
    )


def _output(job: orm.CalcJobNode) -> dict[str, str]:
    """Return the retrieved output of the scheduler and of the program, by file name."""
    link = job.base.links.get_outgoing(link_label_filter='retrieved').first()
    if link is None:
        return {}
    repository = link.node.base.repository
    present = repository.list_object_names()
    options = [job.get_option(name) for name in ('scheduler_stderr', 'output_filename', 'scheduler_stdout')]
    names = [name for name in (*options, *present) if name in options or name.endswith('.log')]
    return {
        name: repository.get_object_content(name, mode='rb').decode(errors='replace')
        for name in dict.fromkeys(names)
        if name in present
    }


def _last_error(pk: int) -> str | None:
    query = orm.QueryBuilder().append(orm.Node, filters={'id': pk}, tag='process')
    query.append(orm.Log, with_node='process', filters={'levelname': 'ERROR'}, project='message', tag='log')
    found: str | None = query.order_by({'log': {'id': 'desc'}}).first(flat=True)
    return found
