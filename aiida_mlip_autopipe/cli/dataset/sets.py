"""Divide a dataset into sets."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aiida_mlip_autopipe.cli.dataset.options import DatasetFile, Force, Labels

if TYPE_CHECKING:
    from rich.table import Table


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
    valid_fraction: Annotated[
        float | None,
        typer.Option(
            help='Fraction of the rows for validation; by default 0.1, or the stored set.', show_default=False
        ),
    ] = None,
    test_fraction: Annotated[
        float | None,
        typer.Option(help='Fraction of the rows for testing; by default 0.1, or the stored set.', show_default=False),
    ] = None,
    by: Annotated[
        GroupBy | None,
        typer.Option(
            help='How rows are grouped; by default, `stored` if the rows contain sets, otherwise `parent`.',
            show_default=False,
        ),
    ] = None,
    hold_out: Annotated[
        str | None,
        typer.Option(
            help='Kind of seed or label of an entry whose rows form the test set: surface, kind=surface or label=hot.'
        ),
    ] = None,
    random_seed: Annotated[int, typer.Option(help='Random seed; a different number gives different sets.')] = 0,
    trainer: Annotated[
        list[Trainer] | None,
        typer.Option(help='Also write a config for this trainer, such as cu-mace.yaml; can be repeated.'),
    ] = None,
    fine_tune: Annotated[
        str | None,
        typer.Option(
            metavar='MODEL',
            help='Write a config that fine-tunes this model instead of training a new one: a file, or a name that the '
            'trainer knows, such as 7net-0 or medium-mpa-0.',
        ),
    ] = None,
    replay: Annotated[
        str | None,
        typer.Option(
            metavar='FILE',
            help='Fine-tune MACE with replay: an extended XYZ file with labelled frames on which MODEL was trained, '
            'or a name that MACE knows, such as mp.',
        ),
    ] = None,
    weight: Annotated[
        list[str] | None,
        typer.Option(
            metavar='NAME=WEIGHT',
            help='Weight of the rows of a kind or label in the loss, such as surface=2; can be repeated.',
        ),
    ] = None,
    labels: Labels = None,
    force: Force = False,
) -> None:
    """Split a dataset into training, validation and test sets.

    Different sets share no groups and no structures.
    """
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.cli.dataset.remarks import print_remarks
    from aiida_mlip_autopipe.core.codes import Code
    from aiida_mlip_autopipe.core.errors import AutopipeError
    from aiida_mlip_autopipe.core.wording import counted
    from aiida_mlip_autopipe.training.base import FineTuning
    from aiida_mlip_autopipe.training.split_dataset import split_dataset

    given = {
        'valid_fraction': valid_fraction,
        'test_fraction': test_fraction,
        'by': by and by.value,
        'hold_out': hold_out,
    }
    settings = {name: value for name, value in given.items() if value is not None}
    if replay is not None and fine_tune is None:
        raise AutopipeError(
            Code.VALUES_INCOMPLETE, f'--replay {replay} requires --fine-tune with a model that was trained on it'
        )
    written = split_dataset(
        file,
        output,
        settings,
        trainers=[one.value for one in trainer or ()],
        fine_tuning=None if fine_tune is None else FineTuning(fine_tune, replay),
        weights=_read_weights(weight or ()),
        labels=labels,
        random_seed=random_seed,
        overwrite=force,
    )
    report = written.report
    for warning in report['warnings']:
        console.print(f'warning: {warning}', style='yellow', markup=False)
    if report['n_groups_joined']:
        console.print(f'{counted(report["n_groups_joined"], "group")} joined with groups that have the same structures')
    console.print(_table(report))
    print_remarks(written.remarks)
    for one in written.sets:
        console.print(
            f'[green]✓[/] {counted(one.n_rows, "row")} from {counted(one.n_groups, "group")} in [bold]{one.path}[/]'
        )
    for name, path in written.configs.items():
        console.print(f'[green]✓[/] config for {name} in [bold]{path}[/]')
    for note in written.notes:
        console.print(note, style='yellow', markup=False)


def _table(report: Mapping[str, Any]) -> Table:
    """Return the contents of the sets. Of each property, the most frequent values are shown."""
    from rich.table import Table

    from aiida_mlip_autopipe.structures.rows.contents import tabulate_sets

    sets = list(report['n_rows'])
    table = Table('', *sets, box=None, padding=(0, 2, 0, 0))
    for column in table.columns[1:]:
        column.justify = 'right'
    lines = tabulate_sets({one: report['contents'][one] for one in sets})
    table.add_row('rows', *map(str, lines.pop('rows')))
    if report['n_requested']:
        table.add_row('requested', *(str(report['n_requested'].get(one, '')) for one in sets))
    table.add_row('groups', *(str(report['n_groups'][one]) for one in sets))
    for title, numbers in lines.items():
        table.add_row(title, *map(str, numbers))
    return table


def _read_weights(texts: Sequence[str]) -> dict[str, float]:
    from aiida_mlip_autopipe.core.codes import Code
    from aiida_mlip_autopipe.core.errors import AutopipeError

    weights = {}
    for text in texts:
        name, _, number = text.rpartition('=')
        try:
            weights[name] = float(number)
        except ValueError:
            weights[name] = math.nan
        if not name or not 0 <= weights[name] < math.inf:
            raise AutopipeError(
                Code.WRONG_PATTERN,
                f'--weight {text}: write a kind or label and a number of at least 0, such as surface=2',
            )
    return weights
