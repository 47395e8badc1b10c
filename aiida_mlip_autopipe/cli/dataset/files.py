"""Merge and convert datasets."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from aiida_mlip_autopipe.cli.dataset.options import DatasetFile, Force, Labels, Select


class FormatName(StrEnum):
    """The formats to which a dataset can be converted."""

    DB = 'db'
    EXTXYZ = 'extxyz'
    ASELMDB = 'aselmdb'
    DEEPMD = 'deepmd'
    NEP = 'nep'
    GAP = 'gap'
    ACE = 'ace'
    MACE_HDF5 = 'mace-hdf5'


def merge(
    files: Annotated[list[Path], typer.Argument(help='Datasets.', show_default=False)],
    output: Annotated[Path, typer.Option('--output', '-o', help='File to write. Its suffix determines the format.')],
    force: Force = False,
) -> None:
    """Merge datasets with the same level of theory.

    A frame that several datasets contain is written once. Copies that are not identical are kept and reported.
    """
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.cli.dataset.remarks import print_remarks
    from aiida_mlip_autopipe.core.wording import counted
    from aiida_mlip_autopipe.storage.merge import merge_datasets

    merged = merge_datasets(files, output, overwrite=force)
    print_remarks(merged.remarks)
    console.print(f'[green]✓[/] {counted(merged.n_rows, "row")} in [bold]{output}[/]')
    if merged.n_repeated:
        console.print(f'{counted(merged.n_repeated, "row")} left out, because an earlier row is the same frame')
    if merged.n_alike:
        console.print(
            f'{counted(merged.n_alike, "row")} kept, although earlier datasets have copies with different rounding '
            'or orientation, or in another group; a split puts copies in the same set',
            style='yellow',
        )
    if (level := merged.joined_level) is not None:
        console.print(f'level of theory with the parameters of all elements: {level.name}, {level.hash}', markup=False)


FORMAT_HELP = 'Format of the file; by default, the suffix determines it.'


def convert(
    file: DatasetFile,
    output: Annotated[Path, typer.Option('--output', '-o', help='File to write, or folder for deepmd.')],
    output_format: Annotated[FormatName | None, typer.Option('--format', help=FORMAT_HELP, show_default=False)] = None,
    select: Select = '',
    labels: Labels = None,
    force: Force = False,
) -> None:
    """Convert a dataset to another format.

    What the format cannot store is reported.
    """
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.cli.dataset.remarks import print_remarks
    from aiida_mlip_autopipe.core.wording import counted
    from aiida_mlip_autopipe.storage import Dataset
    from aiida_mlip_autopipe.storage.formats.export import convert_rows

    with Dataset(file) as dataset:
        written = convert_rows(
            output,
            dataset.query(select),
            overwrite=force,
            format=output_format and output_format.value,
            labels=labels,
        )
    print_remarks(written.remarks)
    console.print(f'[green]✓[/] {counted(written.n_rows, "row")} in [bold]{output}[/]')
