"""``mlip-autopipe generate``: generate the seeds of a campaign, without AiiDA."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aiida_mlip_autopipe.cli.config import ConfigFile, Overrides

if TYPE_CHECKING:
    from aiida_mlip_autopipe.config import CampaignConfig

SUFFIXES = ('.extxyz', '.xyz')


def generate(
    file: ConfigFile,
    output: Annotated[
        Path, typer.Option('--output', '-o', help='File to write in extxyz format, with a JSON report next to it.')
    ] = Path('initial_structures.extxyz'),
    overrides: Overrides = None,
    force: Annotated[bool, typer.Option('--force', help='Overwrite existing files.')] = False,
    processes: Annotated[
        int | None,
        typer.Option(
            '--processes',
            '-n',
            min=1,
            help='Number of processes; by default, the number of cores.',
        ),
    ] = None,
) -> None:
    """Generate the seeds of a campaign.

    This needs neither AiiDA nor a calculator. Each frame of the file contains the record of its seed: its id, and how
    it was generated.
    """
    import json
    import os

    from aiida_mlip_autopipe.cli.console import console, long_work
    from aiida_mlip_autopipe.config import ask_databases, load_config
    from aiida_mlip_autopipe.config.checks.seeds import check_seeds
    from aiida_mlip_autopipe.config.checks.sets import set_warnings
    from aiida_mlip_autopipe.core.atomic_write import atomic_write, refuse_existing
    from aiida_mlip_autopipe.core.codes import Code
    from aiida_mlip_autopipe.core.errors import AutopipeError
    from aiida_mlip_autopipe.core.wording import counted

    if output.suffix not in SUFFIXES:
        raise AutopipeError(Code.FILE_SUFFIX, f'{output}: the name of the file must end in {" or ".join(SUFFIXES)}')
    report_file = output.with_suffix('.report.json')
    refuse_existing(output, force)
    refuse_existing(report_file, force)
    config = ask_databases(load_config(file, overrides or ()))
    # An impossible entry is reported before any seed is generated.
    with long_work('checking the entries'):
        warnings = set_warnings(config, check_seeds(config, explored=False))
    with atomic_write(output, overwrite=force) as unfinished:
        report = _write_seeds(config, unfinished, processes or len(os.sched_getaffinity(0)))
    with atomic_write(report_file, overwrite=force) as unfinished:
        unfinished.write_text(json.dumps(report, indent=2) + '\n', encoding='utf-8')
    _print_report(report)
    for warning in warnings:
        console.print(warning, style='yellow', markup=False)
    console.print(f'[green]✓[/] {counted(report["made"], "seed")} in [bold]{output}[/], report in {report_file}')


def _write_seeds(config: CampaignConfig, output: Path, processes: int) -> dict[str, Any]:
    """Write the seeds while showing the progress, and return the report."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from aiida_mlip_autopipe.cli.console import error_console
    from aiida_mlip_autopipe.generation import progress_shown
    from aiida_mlip_autopipe.generation.seed_file import write_seeds

    work = TextColumn('{task.description}')
    columns = (TextColumn('seeds'), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), work)
    with Progress(*columns, console=error_console, transient=True, disable=not error_console.is_terminal) as bar:
        task = bar.add_task('', total=config.n_seeds)
        with progress_shown(lambda text: bar.update(task, description=text)):
            return write_seeds(
                output,
                config.generation,
                random_seed=config.random_seed,
                cutoff_A=config.cutoff_A,
                processes=processes,
                on_progress=lambda n_done: bar.update(task, completed=n_done),
            )


def _print_report(report: dict[str, Any]) -> None:
    from rich.table import Table

    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.generation import describe_losses

    for line in describe_losses(report):
        console.print(line, style='yellow', markup=False)
    if report['rules']:
        table = Table('rule', 'redrawn', 'worst example', box=None, padding=(0, 2, 0, 0))
        for rule, entry in report['rules'].items():
            table.add_row(rule, str(entry['count']), entry['worst']['message'])
        console.print(table)
