"""Summarise the reasons why many rows have no labels."""

from __future__ import annotations

import re
from collections.abc import Iterable

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.wording import counted

N_EXAMPLES = 3
_NUMBER = re.compile(r'[-+]?\d[\d.]*(?:e[-+]?\d+)?')


def summarise_faults(faults: Iterable[AutopipeError]) -> list[AutopipeError]:
    """Return the first errors with each reason and, if there are more, their number.

    A message consists of a place, a colon and the reason. Reasons that differ only in numbers are the same.
    """
    groups: dict[tuple[Code, str], list[AutopipeError]] = {}
    for fault in faults:
        groups.setdefault((fault.code, _NUMBER.sub('#', _reason(fault))), []).append(fault)
    summary: list[AutopipeError] = []
    for (code, _), found in groups.items():
        # A sentence about one more error would be as long as the error.
        shown = len(found) if len(found) == N_EXAMPLES + 1 else N_EXAMPLES
        summary += found[:shown]
        if n_more := len(found) - len(found[:shown]):
            summary.append(
                AutopipeError(
                    code,
                    f'and {n_more} more; {counted(len(found), "row")} in total for this reason: {_reason(found[0])}',
                )
            )
    return summary


def _reason(fault: AutopipeError) -> str:
    return str(fault).partition(': ')[2]
