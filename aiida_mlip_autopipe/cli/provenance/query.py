"""``mlip-autopipe query``: built-in queries about campaigns."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aiida_mlip_autopipe.cli.dataset.options import JsonOption
from aiida_mlip_autopipe.cli.provenance.options import ProfileOption

if TYPE_CHECKING:
    from pandas import DataFrame

query_app = typer.Typer(help='Query frames, rows, crashes, jobs and costs.', no_args_is_help=True)

CampaignOption = Annotated[
    str | None,
    typer.Argument(
        metavar='ID',
        help='PK, UUID or name of a campaign or labelling run, or the file of an archive. By default, all.',
        show_default=False,
    ),
]
CsvOption = Annotated[bool, typer.Option('--csv', help='Print comma-separated values.')]
MinForce = Annotated[
    float | None,
    typer.Option(
        '--min-force',
        min=0,
        help='List only structures in which the force on an atom is at least this large, in eV/Å.',
        show_default=False,
    ),
]
Composition = Annotated[
    str | None, typer.Option('--composition', help='Formula, such as Cu3Au, for any number of atoms.')
]


def _add_structures(name: str, function: str, explanation: str) -> None:
    """Add a command that lists structures, and that calls a function of `campaigns.history.frames`."""

    def command(
        identifier: CampaignOption = None,
        min_force: MinForce = None,
        composition: Composition = None,
        as_json: JsonOption = False,
        as_csv: CsvOption = False,
        profile: ProfileOption = None,
    ) -> None:
        def ask(campaign: Any) -> DataFrame:
            from aiida_mlip_autopipe.campaigns.history import frames

            return getattr(frames, function)(campaign, min_force_eV_A=min_force, composition=composition)

        _answer(ask, identifier, as_json, as_csv, profile)

    query_app.command(name, help=explanation)(command)


def _add_query(name: str, function: str, explanation: str) -> None:
    """Add a command that calls a function of `campaigns.history.queries`."""

    def command(
        identifier: CampaignOption = None,
        as_json: JsonOption = False,
        as_csv: CsvOption = False,
        profile: ProfileOption = None,
    ) -> None:
        def ask(campaign: Any) -> DataFrame:
            from aiida_mlip_autopipe.campaigns.history import queries

            return getattr(queries, function)(campaign)

        _answer(ask, identifier, as_json, as_csv, profile)

    query_app.command(name, help=explanation)(command)


_add_structures('frames', 'find_frames', 'List explored frames, filtered by largest force and composition.')
_add_structures('rows', 'find_rows', 'List rows of datasets, filtered by largest force and composition.')
_add_query('crashes', 'find_crashes', 'List the runs that a guard stopped, with the rule, the value and the limit.')
_add_query('jobs', 'count_jobs', 'Count the jobs by calculator, model and version.')
_add_query('costs', 'measure_costs', 'Show what each stage cost.')


def _answer(
    ask: Callable[[Any], DataFrame], identifier: str | None, as_json: bool, as_csv: bool, profile: str | None
) -> None:
    """Open the profile or the archive, ask the question and print its answer."""
    from aiida_mlip_autopipe.cli.provenance.opening import opened
    from aiida_mlip_autopipe.core.codes import Code
    from aiida_mlip_autopipe.core.errors import AutopipeError

    if as_json and as_csv:
        raise AutopipeError(Code.VALUES_EXCLUDE, '--json and --csv cannot be combined')
    if identifier is not None:
        with opened(identifier, profile) as campaign:
            _print(ask(campaign), as_json, as_csv)
        return
    from aiida_mlip_autopipe.installation.profile import open_profile

    open_profile(profile)
    _print(ask(None), as_json, as_csv)


def _print(answer: DataFrame, as_json: bool, as_csv: bool) -> None:
    from rich.table import Table

    from aiida_mlip_autopipe.cli.console import UNBROKEN, console, print_json

    if as_json:
        print_json(answer.astype(object).where(answer.notna(), None).to_dict('records'))
    elif as_csv:
        typer.echo(answer.to_csv(index=False), nl=False)
    else:
        table = Table(box=None, padding=(0, 2, 0, 0))
        for name in answer.columns:
            is_number = answer[name].dtype.kind in 'if'
            title = name.replace('eV_A', 'eV/Å').replace('_', ' ')
            table.add_column(title, justify='right' if is_number else 'left', no_wrap=True)
        for row in answer.itertuples(index=False):
            table.add_row(*map(_cell, row))
        # In a narrow terminal, lines continue on the next one, because a shortened id cannot be used.
        width = console.measure(table, options=console.options.update(max_width=UNBROKEN)).maximum
        console.print(table if len(answer) else 'none found', width=width, crop=False)


def _cell(value: Any) -> Any:
    from rich.text import Text

    return Text(f'{value:.4g}' if isinstance(value, float) else '' if value is None else str(value))
