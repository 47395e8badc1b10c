"""The command that shows the provenance of a row."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aiida_mlip_autopipe.cli.dataset.options import JsonOption
from aiida_mlip_autopipe.cli.provenance.options import ProfileOption

if TYPE_CHECKING:
    from aiida_mlip_autopipe.campaigns.provenance.traced import Trace

DATASET_HELP = (
    'Database file, PK, UUID or name of a campaign or of a labelling run, PK or UUID of a dataset, or an archive.'
)
Dataset = Annotated[str, typer.Argument(metavar='DATASET', help=DATASET_HELP, show_default=False)]
RowId = Annotated[int, typer.Argument(metavar='ROW', help='Id of the row in the dataset.', show_default=False)]


def trace(
    dataset: Dataset,
    row: RowId,
    svg: Annotated[
        Path | None, typer.Option('--svg', help='Draw a graph to this .svg file.', show_default=False)
    ] = None,
    force: Annotated[bool, typer.Option('--force', help='Overwrite an existing file.')] = False,
    as_json: JsonOption = False,
    profile: ProfileOption = None,
) -> None:
    """Show the provenance of a row of a dataset.

    It lists the selection, the frame, the jobs, the seed and the config.
    """
    from aiida_mlip_autopipe.cli.console import console, print_json
    from aiida_mlip_autopipe.cli.provenance.opening import opened, refuse_missing_dataset
    from aiida_mlip_autopipe.core.codes import Code
    from aiida_mlip_autopipe.core.errors import AutopipeError

    if as_json and svg is not None:
        raise AutopipeError(Code.VALUES_EXCLUDE, '--json and --svg cannot be combined')
    refuse_missing_dataset(dataset)
    with opened(dataset, profile) as identifier:
        from aiida_mlip_autopipe.campaigns.provenance.origin import find_origin, open_dataset
        from aiida_mlip_autopipe.campaigns.provenance.trace import trace_row

        if svg is not None:
            from aiida_mlip_autopipe.campaigns.provenance.drawing import draw_trace, refuse_drawing

            refuse_drawing(svg, force)
        found = open_dataset(identifier)
        traced = trace_row(find_origin(found.row(row), found.node))
        if as_json:
            print_json(traced)
        elif svg is None:
            _print_trace(traced)
        else:
            draw_trace(traced, svg, force=force)
            console.print(f'[green]✓[/] graph of row {row} in [bold]{svg}[/]')


def _print_trace(traced: Trace) -> None:
    from rich.table import Table
    from rich.text import Text

    from aiida_mlip_autopipe.campaigns.provenance.lines import describe_trace
    from aiida_mlip_autopipe.cli.console import console

    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for stage in describe_trace(traced):
        for number, line in enumerate(stage.lines):
            table.add_row(Text('' if number else stage.title, style='bold'), Text(line))
    console.print(table)
