"""Merge and convert datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aiida_mlip_autopipe.cli.dataset.options import DatasetFile, Force, Select


def merge(
    files: Annotated[list[Path], typer.Argument(help='Datasets.', show_default=False)],
    output: Annotated[Path, typer.Option('--output', '-o', help='File to write. Its suffix determines the format.')],
    force: Force = False,
) -> None:
    """Merge datasets with the same level of theory.

    A frame that several datasets contain is written once.
    """
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.core.wording import counted
    from aiida_mlip_autopipe.storage.merge import merge_datasets

    n_rows = merge_datasets(files, output, overwrite=force)
    console.print(f'[green]✓[/] {counted(n_rows, "row")} in [bold]{output}[/]')


def convert(
    file: DatasetFile,
    output: Annotated[Path, typer.Option('--output', '-o', help='File to write: .extxyz, .db or .aselmdb.')],
    select: Select = '',
    force: Force = False,
) -> None:
    """Convert a dataset to another format."""
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.core.wording import counted
    from aiida_mlip_autopipe.storage import Dataset, export_dataset

    with Dataset(file) as dataset:
        n_rows = export_dataset(output, dataset.query(select), overwrite=force)
    console.print(f'[green]✓[/] {counted(n_rows, "row")} in [bold]{output}[/]')
