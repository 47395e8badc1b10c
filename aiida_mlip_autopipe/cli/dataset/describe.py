"""Describe a dataset, and compare two of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aiida_mlip_autopipe.cli.dataset.options import DatasetFile, Force, JsonOption

if TYPE_CHECKING:
    from aiida_mlip_autopipe.storage import Row


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
    metadata: Annotated[
        Path | None,
        typer.Option('--metadata', help='YAML file for `publish`, from which the version of the dataset is read.'),
    ] = None,
    force: Force = False,
    as_json: JsonOption = False,
) -> None:
    """Describe the content and origin of a dataset."""
    from aiida_mlip_autopipe.cli.console import console, error_console, print_json
    from aiida_mlip_autopipe.core.codes import Code
    from aiida_mlip_autopipe.core.errors import AutopipeError
    from aiida_mlip_autopipe.core.wording import counted
    from aiida_mlip_autopipe.reporting.card import describe_dataset, read_dataset_info, render_card, write_card
    from aiida_mlip_autopipe.storage import Dataset

    if as_json and card is not None:
        raise AutopipeError(Code.VALUES_EXCLUDE, '--json and --card cannot be combined; --card also writes a JSON file')
    if config is not None and not config.is_file():
        raise AutopipeError(Code.FILE_MISSING, f'the config file {config} does not exist')
    version = None if metadata is None else _read_version(metadata)
    with Dataset(file) as dataset:
        rows = list(dataset.query())
    if config is not None and (warning := _compare_config(config, rows)):
        error_console.print(warning, style='yellow', markup=False)
    if as_json:
        print_json(read_dataset_info(rows, version))
        return
    if card is None:
        typer.echo(render_card(describe_dataset(rows, version), file.stem))
        return
    text = config.read_text(encoding='utf-8') if config else None
    write_card(card, rows, config=text, version=version, overwrite=force)
    console.print(f'[green]✓[/] card of {counted(len(rows), "row")} in [bold]{card}[/] and {card.with_suffix(".json")}')


def _read_version(metadata: Path) -> str | None:
    """Return the version of the dataset in the metadata file."""
    from aiida_mlip_autopipe.core.yaml_file import read_yaml_file
    from aiida_mlip_autopipe.reporting.publication import read_publication_fields

    return read_publication_fields(read_yaml_file(metadata), str(metadata)).version


def _compare_config(path: Path, rows: Sequence[Row]) -> str | None:
    """Return a warning if the rows were made with a different config, or if the config cannot be compared."""
    from aiida_mlip_autopipe.config import config_hash, load_config
    from aiida_mlip_autopipe.core.errors import AutopipeError
    from aiida_mlip_autopipe.structures.rows.provenance import HASH_PREFIX

    hashes = {row.key_value_pairs.get('config_sha256') for row in rows}
    known = sorted(str(one) for one in hashes if one is not None)
    try:
        found = HASH_PREFIX + config_hash(load_config(path))
    except AutopipeError as error:
        return f'warning: {path} cannot be compared with the rows: {error}'
    if known == [found]:
        return None
    return (
        f'warning: {path} has the hash {found}, but the rows have {", ".join(known) or "none"}: the rows were '
        'made with a different config, or with different overrides or files'
    )


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
    """Compare the structures, labels and metadata of two datasets.

    Paths and the UUIDs of repeated runs are ignored.
    The exit status is 1 if the datasets differ.
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
    for key, rows in difference.metadata.items():
        others = f' and {counted(len(rows) - 1, "other row")}' if len(rows) > 1 else ''
        typer.echo(f'different {key}: {rows[0]}{others}')
    if not difference.is_empty:
        raise typer.Exit(1)
