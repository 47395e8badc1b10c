"""``mlip-autopipe dataset``: commands for datasets, which do not need AiiDA."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

DatasetFile = Annotated[Path, typer.Argument(help='Dataset, an ASE database.', show_default=False)]
Force = Annotated[bool, typer.Option('--force', help='Overwrite existing files.')]
JsonOption = Annotated[bool, typer.Option('--json', help='Print JSON.')]

dataset_app = typer.Typer(help='Describe, split, merge, convert and compare datasets.', no_args_is_help=True)


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


@dataset_app.command()
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


@dataset_app.command()
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


@dataset_app.command()
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
    from aiida_mlip_autopipe.storage.split_dataset import split_dataset

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


@dataset_app.command()
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


@dataset_app.command()
def convert(
    file: DatasetFile,
    output: Annotated[Path, typer.Option('--output', '-o', help='File to write: .extxyz, .db or .aselmdb.')],
    select: Annotated[str, typer.Option(help='Only these rows, in ASE syntax: "temperature_K>900,Cu>2".')] = '',
    force: Force = False,
) -> None:
    """Convert a dataset to another format."""
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.core.wording import counted
    from aiida_mlip_autopipe.storage import Dataset, export_dataset

    with Dataset(file) as dataset:
        n_rows = export_dataset(output, dataset.query(select), overwrite=force)
    console.print(f'[green]✓[/] {counted(n_rows, "row")} in [bold]{output}[/]')


@dataset_app.command()
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
    for title, identities in parts:
        for seed, step, label_source in identities:
            typer.echo(f'{title}: {seed} step {step} {label_source}')
    if not difference.is_empty:
        raise typer.Exit(1)


@dataset_app.command('dft-inputs')
def dft_inputs(
    file: DatasetFile,
    output: Annotated[Path, typer.Option('--output', '-o', help='New folder to write, with a subfolder for each row.')],
    settings: Annotated[
        Path,
        typer.Option('--settings', help='YAML file with the DFT code, the level of theory and parameters.'),
    ],
    select: Annotated[str, typer.Option(help='Only these rows, in ASE syntax: "temperature_K>900,Cu>2".')] = '',
) -> None:
    """Write the inputs of a DFT code for the rows of a dataset.

    Run the code yourself, then read the labels with `label-from`.
    """
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.config.yaml_file import read_yaml_file
    from aiida_mlip_autopipe.core.wording import counted
    from aiida_mlip_autopipe.storage import Dataset
    from aiida_mlip_autopipe.storage.dft import write_dft_inputs
    from aiida_mlip_autopipe.storage.dft.inputs import make_code

    code = make_code(read_yaml_file(settings), str(settings))
    with Dataset(file) as dataset:
        folders = write_dft_inputs(output, list(dataset.query(select)), code)
    console.print(f'[green]✓[/] {code.settings.code} inputs for {counted(len(folders), "row")} in [bold]{output}[/]')
    console.print(
        f"run the code in each folder so that it writes {code.output}; then run 'mlip-autopipe dataset label-from'"
    )


@dataset_app.command('label-from')
def label_from(
    folder: Annotated[Path, typer.Argument(help='Folder of the DFT calculations.', show_default=False)],
    file: DatasetFile,
    output: Annotated[Path, typer.Option('--output', '-o', help='File to write. Its suffix determines the format.')],
    skip_failed: Annotated[
        bool, typer.Option('--skip-failed', help='Leave out rows without a valid calculation, and report them.')
    ] = False,
    force: Force = False,
) -> None:
    """Write a dataset with labels from DFT calculations.

    The inputs of the calculations must be those that `dft-inputs` wrote.
    """
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.cli.faults import with_codes
    from aiida_mlip_autopipe.core.wording import counted
    from aiida_mlip_autopipe.storage.dft.labels import label_dataset

    labelled = label_dataset(folder, file, output, skip_failed=skip_failed, overwrite=force)
    for fault in labelled.faults:
        console.print(f'left out: {with_codes(fault)}', style='yellow', markup=False)
    console.print(f'[green]✓[/] {counted(labelled.n_rows, "row")} in [bold]{output}[/]')
