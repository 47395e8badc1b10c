"""Draw what made a row as a graph."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from textwrap import wrap

from graphviz import CalledProcessError, Digraph, ExecutableNotFound

from aiida_mlip_autopipe.campaigns.provenance.lines import Stage, describe_trace
from aiida_mlip_autopipe.campaigns.provenance.traced import Trace
from aiida_mlip_autopipe.core.atomic_write import atomic_write, refuse_existing
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.wording import printable

WIDTH = 76
"""Maximum number of characters on a line of a box."""
# Graphviz removes ordinary spaces at the beginning of a line.
_INDENT = '\N{NO-BREAK SPACE}' * 4
# Graphviz would replace sequences such as \N, so a private-use character stands for a backslash.
_BACKSLASH = '\ue000'
# A table of one cell aligns the text at the left of a box with a minimum width.
_TABLE_START = '<TABLE BORDER="0" WIDTH="410"><TR><TD ALIGN="LEFT" BALIGN="LEFT">'
_TABLE_END = '</TD></TR></TABLE>'


def refuse_drawing(path: Path, force: bool) -> None:
    """Refuse the name of a drawing that cannot be written.

    Raises
    ------
    AutopipeError
        If the suffix is not ``.svg``, or the file exists and ``force`` is false, or it cannot be written.
    """
    if path.suffix != '.svg':
        raise AutopipeError(Code.FILE_SUFFIX, f'{path}: the suffix of a drawing must be .svg')
    refuse_existing(path, force)


def draw_trace(trace: Trace, path: Path, *, force: bool = False) -> None:
    """Write a drawing of what made a row: a box for each stage, from the config to the row.

    Parameters
    ----------
    trace
        What made the row.
    path
        The file; its suffix must be ``.svg``.
    force
        Whether to overwrite an existing file.

    Raises
    ------
    AutopipeError
        If Graphviz is not installed or fails, the suffix is wrong, or the file exists and ``force`` is false, or it
        cannot be written.
    """
    refuse_drawing(path, force)
    stages = describe_trace(trace)
    graph = Digraph(
        graph_attr={'rankdir': 'TB', 'ranksep': '0.3'},
        node_attr={
            'shape': 'box',
            'style': 'rounded,filled',
            'color': '#5b6b7f',
            'fillcolor': '#f4f6f9',
            'fontname': 'Helvetica',
            'fontsize': '10',
            'margin': '0.05,0.02',
        },
        edge_attr={'color': '#5b6b7f', 'arrowsize': '0.7'},
    )
    for number, stage in enumerate(reversed(stages)):
        graph.node(str(number), label=_box(stage))
        if number:
            graph.edge(str(number - 1), str(number))
    try:
        svg = graph.pipe(format='svg').decode().replace(_BACKSLASH, '\\')
    except ExecutableNotFound as error:
        raise AutopipeError(
            Code.PACKAGE_MISSING,
            "Graphviz (the program 'dot') is not installed; install it with 'apt install graphviz', "
            "'conda install graphviz' or 'brew install graphviz'",
        ) from error
    except CalledProcessError as error:
        raise AutopipeError(Code.PACKAGE_MISSING, f"Graphviz (the program 'dot') failed: {error}") from error
    with atomic_write(path, overwrite=force) as part:
        # Comments of dot contain its version, which depends on the machine.
        part.write_text(re.sub(r'<!--.*?-->\n?', '', svg, flags=re.DOTALL), encoding='utf-8')


def _box(stage: Stage) -> str:
    """Return the label of a box in Graphviz's HTML-like language. The text is escaped."""
    texts = (escape(printable(line)).replace('\\', _BACKSLASH) for line in _broken(stage.lines))
    lines = [f'<B>{escape(stage.title)}</B>', *texts]
    return f'<{_TABLE_START}{"<BR/>".join(lines)}{_TABLE_END}>'


def _broken(lines: Sequence[str]) -> Iterator[str]:
    for line in lines:
        yield from wrap(line, WIDTH, subsequent_indent=_INDENT, break_long_words=True) or ['']
