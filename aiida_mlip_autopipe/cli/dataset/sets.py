"""Divide a dataset into sets."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from aiida_mlip_autopipe.cli.dataset.options import DatasetFile, Force


class GroupBy(StrEnum):
    """What determines the groups, which are not split between sets."""

    PARENT = 'parent'
    COMPOSITION = 'composition'
    KIND = 'kind'
    STORED = 'stored'


class Trainer(StrEnum):
    """The trainers for which a config can be written."""

    MACE = 'mace'
    SEVENNET = 'sevennet'


def split(
    file: DatasetFile,
    output: Annotated[
        Path | None,
        typer.Option(
            '--output',
            '-o',
            help='Base name of the files: cu.extxyz gives cu-train.extxyz, …; by default, the name of FILE.',
        ),
    ] = None,
    valid_fraction: Annotated[float, typer.Option(help='Fraction of the rows for validation.')] = 0.1,
    test_fraction: Annotated[float, typer.Option(help='Fraction of the rows for testing.')] = 0.1,
    by: Annotated[
        GroupBy | None,
        typer.Option(
            help='How rows are grouped; by default, `stored` if every row contains its set, otherwise `parent`.',
            show_default=False,
        ),
    ] = None,
    hold_out: Annotated[str | None, typer.Option(help='Kind of seed whose rows form the test set.')] = None,
    random_seed: Annotated[int, typer.Option(help='Random seed; a different number gives different sets.')] = 0,
    trainer: Annotated[
        list[Trainer] | None,
        typer.Option(help='Also write a config for this trainer, such as cu-mace.yaml; can be repeated.'),
    ] = None,
    force: Force = False,
) -> None:
    """Split a dataset into training, validation and test sets.

    Different sets share no groups and no structures.
    """
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.core.wording import counted
    from aiida_mlip_autopipe.storage.sets.split_dataset import split_dataset

    settings = {
        'valid_fraction': valid_fraction,
        'test_fraction': test_fraction,
        'by': by and by.value,
        'hold_out': hold_out,
    }
    written = split_dataset(
        file, output, settings, trainers=[one.value for one in trainer or ()], random_seed=random_seed, overwrite=force
    )
    if written.n_groups_joined:
        console.print(f'{counted(written.n_groups_joined, "group")} joined with groups that have the same structures')
    for one in written.sets:
        console.print(
            f'[green]✓[/] {counted(one.n_rows, "row")} of {counted(one.n_groups, "group")} in [bold]{one.path}[/]'
        )
    for name, path in written.configs.items():
        console.print(f'[green]✓[/] config for {name} in [bold]{path}[/]')
