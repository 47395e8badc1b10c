"""Tables of the report card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape


def render_table(head: Sequence[str], lines: Mapping[str, Sequence[float | str]]) -> str:
    """Return the HTML of a table whose rows have titles."""
    body = ''.join(
        f'<tr><td>{escape(name)}</td>' + ''.join(f'<td>{_cell(value)}</td>' for value in values) + '</tr>'
        for name, values in lines.items()
    )
    head_cells = ''.join(f'<th>{escape(cell)}</th>' for cell in head)
    return f'<div class="table"><table><tr>{head_cells}</tr>{body}</table></div>'


def _cell(value: float | str) -> str:
    if isinstance(value, str):
        return escape(value)
    return f'{value:,}' if isinstance(value, int) else f'{value:.4g}'
