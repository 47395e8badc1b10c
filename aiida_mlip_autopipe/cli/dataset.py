"""``mlip-autopipe dataset``: what to do with a dataset once it is there. No AiiDA."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

DatasetFile = Annotated[Path, typer.Argument(help='The dataset, an ASE database.', show_default=False)]
Force = Annotated[bool, typer.Option('--force', help='Overwrite existing files.')]
JsonOption = Annotated[bool, typer.Option('--json', help='Print JSON, for other programs.')]

dataset_app = typer.Typer(help='Describe, split, merge, convert and compare datasets.', no_args_is_help=True)


class GroupBy(StrEnum):
    """What must not be in two sets."""

    ANCESTOR = 'ancestor'
    COMPOSITION = 'composition'
    KIND = 'kind'
    STORED = 'stored'


class Trainer(StrEnum):
    """What a config file can be written for."""

    MACE = 'mace'
    SEVENNET = 'sevennet'


@dataset_app.command()
def info(
    file: DatasetFile,
    card: Annotated[
        Path | None, typer.Option('--card', help='Write it to this .md file instead, and as JSON beside it.')
    ] = None,
    config: Annotated[
        Path | None, typer.Option('--config', help='The config it was made with, to stand in the card.')
    ] = None,
    force: Force = False,
    as_json: JsonOption = False,
) -> None:
    """Tell what a dataset holds and where it came from."""
    from aiida_mlip_autopipe.cli.console import console, print_json
    from aiida_mlip_autopipe.core.codes import Code
    from aiida_mlip_autopipe.core.errors import AutopipeError
    from aiida_mlip_autopipe.reporting.card import describe_dataset, read_dataset_info, render_card, write_card
    from aiida_mlip_autopipe.storage import Dataset

    if as_json and card is not None:
        raise AutopipeError(Code.VALUES_EXCLUDE, '--json and --card exclude each other: a card has its JSON beside it')
    if config is not None and not config.is_file():
        raise AutopipeError(Code.FILE_MISSING, f'there is no config file {config}')
    with Dataset(file) as dataset:
        rows = list(dataset.query())
    if as_json:
        print_json(read_dataset_info(rows))
        return
    if card is None:
        typer.echo(render_card(describe_dataset(rows), file.stem))
        return
    write_card(card, rows, config=config.read_text(encoding='utf-8') if config else None, overwrite=force)
    console.print(f'[green]✓[/] the card of {len(rows)} rows in [bold]{card}[/] and {card.with_suffix(".json")}')


@dataset_app.command()
def report(
    file: DatasetFile,
    output: Annotated[Path, typer.Option('--output', '-o', help='The .html file to write; its numbers stand beside.')],
    force: Force = False,
) -> None:
    """Write a report card: what a dataset is worth, in figures that open in any browser, without a network."""
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.reporting.report_card import write_report_card
    from aiida_mlip_autopipe.storage import Dataset

    with Dataset(file) as dataset:
        rows = list(dataset.query())
    write_report_card(output, rows, overwrite=force)
    console.print(f'[green]✓[/] the report card of {len(rows)} rows in [bold]{output}[/]')


@dataset_app.command()
def split(
    file: DatasetFile,
    output: Annotated[
        Path | None,
        typer.Option('--output', '-o', help='cu.extxyz gives cu-train.extxyz and so on; by default the name of FILE.'),
    ] = None,
    valid_share: Annotated[float, typer.Option(help='Share of the rows for validation.')] = 0.1,
    test_share: Annotated[float, typer.Option(help='Share of the rows for testing.')] = 0.1,
    by: Annotated[
        GroupBy | None,
        typer.Option(
            help='What must not be in two sets; by default the sets drawn before the selection (stored), or ancestors.',
            show_default=False,
        ),
    ] = None,
    hold_out: Annotated[
        str | None, typer.Option(help='A kind of seed of which all rows, and no others, are for testing.')
    ] = None,
    random_seed: Annotated[int, typer.Option(help='Another number draws other sets.')] = 0,
    trainer: Annotated[
        list[Trainer] | None,
        typer.Option(help='Write a config file of this trainer beside the sets, as cu-mace.yaml; can be repeated.'),
    ] = None,
    force: Force = False,
) -> None:
    """Divide a dataset in a training, a validation and a test set that share no lineage and no structure."""
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.storage.split_dataset import split_dataset

    settings = {'valid_share': valid_share, 'test_share': test_share, 'by': by and by.value, 'hold_out': hold_out}
    written = split_dataset(
        file, output, settings, trainers=[one.value for one in trainer or ()], random_seed=random_seed, overwrite=force
    )
    if written.n_groups_joined:
        console.print(f'{written.n_groups_joined} groups were joined to others: they share a structure')
    for one in written.sets:
        console.print(f'[green]✓[/] {one.n_rows} rows of {one.n_groups} groups in [bold]{one.path}[/]')
    for name, path in written.configs.items():
        console.print(f'[green]✓[/] config of {name} in [bold]{path}[/]')


@dataset_app.command()
def merge(
    files: Annotated[list[Path], typer.Argument(help='The datasets.', show_default=False)],
    output: Annotated[Path, typer.Option('--output', '-o', help='The file to write; its suffix names the format.')],
    force: Force = False,
) -> None:
    """Put datasets of one level of theory together, each frame once."""
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.storage.merge import merge_datasets

    n_rows = merge_datasets(files, output, overwrite=force)
    console.print(f'[green]✓[/] {n_rows} rows in [bold]{output}[/]')


@dataset_app.command()
def convert(
    file: DatasetFile,
    output: Annotated[Path, typer.Option('--output', '-o', help='A .extxyz, .db or .aselmdb file.')],
    select: Annotated[str, typer.Option(help='Only these rows, in ASE\'s words, as "temperature_K>900,Cu>2".')] = '',
    force: Force = False,
) -> None:
    """Write a dataset, or some of its rows, in another format."""
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.storage import Dataset, export_dataset

    with Dataset(file) as dataset:
        n_rows = export_dataset(output, dataset.query(select), overwrite=force)
    console.print(f'[green]✓[/] {n_rows} rows in [bold]{output}[/]')


@dataset_app.command()
def diff(
    first: DatasetFile,
    second: Annotated[Path, typer.Argument(help='Another one.', show_default=False)],
) -> None:
    """Tell in what two datasets differ; the exit status is 1 where they do."""
    from aiida_mlip_autopipe.storage.merge import compare_datasets

    difference = compare_datasets(first, second)
    parts = (
        ('only in the first', difference.only_first),
        ('only in the second', difference.only_second),
        ('changed', difference.changed),
    )
    typer.echo(f'{difference.same} rows are the same')
    for title, identities in parts:
        for seed, step, label_source in identities:
            typer.echo(f'{title}: {seed} step {step} {label_source}')
    if not difference.is_empty:
        raise typer.Exit(1)


@dataset_app.command('dft-inputs')
def dft_inputs(
    file: DatasetFile,
    output: Annotated[
        Path, typer.Option('--output', '-o', help='The new folder to write, with a folder for each row.')
    ],
    settings: Annotated[
        Path, typer.Option('--settings', help='A YAML file: the code, the level of theory, its input.')
    ],
    select: Annotated[str, typer.Option(help='Only these rows, in ASE\'s words, as "temperature_K>900,Cu>2".')] = '',
) -> None:
    """Write inputs of a DFT code for the rows of a dataset, to label them elsewhere."""
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.config.yaml_file import read_yaml_file
    from aiida_mlip_autopipe.storage import Dataset
    from aiida_mlip_autopipe.storage.dft import write_dft_inputs
    from aiida_mlip_autopipe.storage.dft.inputs import make_code

    code = make_code(read_yaml_file(settings), str(settings))
    with Dataset(file) as dataset:
        folders = write_dft_inputs(output, list(dataset.query(select)), code)
    console.print(f'[green]✓[/] inputs of {code.settings.code} for {len(folders)} rows in [bold]{output}[/]')
    console.print(f'run it in each folder so that it leaves {code.output}, then: mlip-autopipe dataset label-from')


@dataset_app.command('label-from')
def label_from(
    folder: Annotated[Path, typer.Argument(help='Where the calculations are.', show_default=False)],
    file: DatasetFile,
    output: Annotated[Path, typer.Option('--output', '-o', help='The file to write; its suffix names the format.')],
    skip_failed: Annotated[
        bool, typer.Option('--skip-failed', help='Leave out rows without a good calculation, and say which.')
    ] = False,
    force: Force = False,
) -> None:
    """Write a dataset with the labels of the DFT calculations that `dft-inputs` prepared."""
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.storage.dft.labels import label_dataset

    labelled = label_dataset(folder, file, output, skip_failed=skip_failed, overwrite=force)
    for fault in labelled.faults:
        console.print(f'left out: {fault}', style='yellow')
    console.print(f'[green]✓[/] {labelled.n_rows} rows in [bold]{output}[/]')
