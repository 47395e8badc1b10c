"""Describe a dataset, and compare two of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aiida_mlip_autopipe.cli.dataset.options import DatasetFile, Force, JsonOption


def info(
    file: DatasetFile,
    card: Annotated[
        Path | None,
        typer.Option(
            '--card', help='Write a card to this .md file instead of printing it, and a JSON file next to it.'
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option('--config', help='Config file of the campaign, to include in the card.')
    ] = None,
    force: Force = False,
    as_json: JsonOption = False,
) -> None:
    """Describe the content and origin of a dataset."""
    from aiida_mlip_autopipe.cli.console import console, print_json
    from aiida_mlip_autopipe.core.codes import Code
    from aiida_mlip_autopipe.core.errors import AutopipeError
    from aiida_mlip_autopipe.core.wording import counted
    from aiida_mlip_autopipe.reporting.card import describe_dataset, read_dataset_info, render_card, write_card
    from aiida_mlip_autopipe.storage import Dataset

    if as_json and card is not None:
        raise AutopipeError(Code.VALUES_EXCLUDE, '--json and --card cannot be combined; --card also writes a JSON file')
    if config is not None and not config.is_file():
        raise AutopipeError(Code.FILE_MISSING, f'the config file {config} does not exist')
    with Dataset(file) as dataset:
        rows = list(dataset.query())
    if as_json:
        print_json(read_dataset_info(rows))
        return
    if card is None:
        typer.echo(render_card(describe_dataset(rows), file.stem))
        return
    write_card(card, rows, config=config.read_text(encoding='utf-8') if config else None, overwrite=force)
    console.print(f'[green]✓[/] card of {counted(len(rows), "row")} in [bold]{card}[/] and {card.with_suffix(".json")}')


def report(
    file: DatasetFile,
    output: Annotated[
        Path,
        typer.Option('--output', '-o', help='HTML file to write, with a JSON file next to it.'),
    ],
    force: Force = False,
) -> None:
    """Write the report card of a dataset.

    It is an HTML page with figures that show the quality of the dataset. It opens without a network
    connection.
    """
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.core.wording import counted
    from aiida_mlip_autopipe.reporting.report_card import write_report_card
    from aiida_mlip_autopipe.storage import Dataset

    with Dataset(file) as dataset:
        rows = list(dataset.query())
    write_report_card(output, rows, overwrite=force)
    console.print(f'[green]✓[/] report card of {counted(len(rows), "row")} in [bold]{output}[/]')


def diff(
    first: DatasetFile,
    second: Annotated[Path, typer.Argument(help='Another dataset.', show_default=False)],
) -> None:
    """Compare two datasets.

    The exit status is 1 if they differ.
    """
    from aiida_mlip_autopipe.core.wording import counted
    from aiida_mlip_autopipe.storage.merge import compare_datasets

    difference = compare_datasets(first, second)
    parts = (
        ('only in the first', difference.only_first),
        ('only in the second', difference.only_second),
        ('changed', difference.changed),
    )
    typer.echo(f'equal: {counted(difference.same, "row")}')
    for title, names in parts:
        for name in names:
            typer.echo(f'{title}: {name}, {name.label_source}')
    if not difference.is_empty:
        raise typer.Exit(1)
