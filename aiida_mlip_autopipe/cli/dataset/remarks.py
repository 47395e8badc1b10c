"""Print what a format does not store."""

from __future__ import annotations

from collections.abc import Mapping


def print_remarks(remarks: Mapping[str, int]) -> None:
    """Print what a format does not store or what was changed, with the number of rows to which each remark applies."""
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.core.wording import counted

    for remark, n_rows in remarks.items():
        console.print(f'{counted(n_rows, "row")}: {remark}', style='yellow', markup=False)
