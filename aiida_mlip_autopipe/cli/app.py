"""The program ``mlip-autopipe`` and its commands.

The modules of the commands import heavy packages only inside functions, so that help and completion are fast.
"""

from __future__ import annotations

import gc
import sys
import warnings
from typing import Annotated

import typer

from aiida_mlip_autopipe.cli.calculator import calculator_app
from aiida_mlip_autopipe.cli.computer import computer_app
from aiida_mlip_autopipe.cli.config import config_app
from aiida_mlip_autopipe.cli.dataset import dataset_app
from aiida_mlip_autopipe.cli.faults import ErrorReportingGroup
from aiida_mlip_autopipe.cli.generate import generate
from aiida_mlip_autopipe.cli.label import label_app
from aiida_mlip_autopipe.cli.provenance.archive import archive, import_
from aiida_mlip_autopipe.cli.provenance.explain import explain
from aiida_mlip_autopipe.cli.provenance.query import query_app
from aiida_mlip_autopipe.cli.provenance.reproduce import reproduce
from aiida_mlip_autopipe.cli.provenance.trace import trace
from aiida_mlip_autopipe.cli.run import extend, run
from aiida_mlip_autopipe.cli.setup import setup
from aiida_mlip_autopipe.cli.status import export, report, resume, status, trajectories
from aiida_mlip_autopipe.cli.stop import clean, kill
from aiida_mlip_autopipe.cli.train import train_app

app = typer.Typer(
    cls=ErrorReportingGroup,
    no_args_is_help=True,
    context_settings={'help_option_names': ['-h', '--help']},
    # Output to a file or a pipe is plain text.
    rich_markup_mode='rich' if sys.stdout.isatty() else None,
    pretty_exceptions_enable=False,
)


def _print_version(requested: bool) -> None:
    if requested:
        from aiida_mlip_autopipe import __version__

        typer.echo(f'mlip-autopipe {__version__}')
        raise typer.Exit


@app.callback()
def _root(
    debug: Annotated[
        bool, typer.Option('--debug', envvar='MLIP_AUTOPIPE_DEBUG', help='Print the traceback of an error.')
    ] = False,
    version: Annotated[
        bool, typer.Option('--version', callback=_print_version, is_eager=True, help='Print the version and exit.')
    ] = False,
) -> None:
    """Generate training data for machine-learning interatomic potentials from one YAML file."""


# Commands are in the order in which a campaign uses them.
app.add_typer(config_app, name='config')
app.command()(setup)
app.add_typer(computer_app, name='computer')
app.add_typer(calculator_app, name='calculator')
app.command()(generate)
app.command()(run)
app.add_typer(label_app, name='label')
app.add_typer(train_app, name='train')
app.command()(status)
app.command()(explain)
app.command()(resume)
app.command()(extend)
app.command()(kill)
app.command()(export)
app.command()(trajectories)
app.command()(clean)
app.command()(report)
app.command()(trace)
app.command()(reproduce)
app.add_typer(query_app, name='query')
app.command()(archive)
app.command(name='import')(import_)
app.add_typer(dataset_app, name='dataset')


def main() -> None:
    """Run the program."""
    # Datasets have millions of objects that live until the end, and few cycles. By default, garbage collection takes up
    # to a tenth of the processor time of a command.
    gc.set_threshold(100_000, 50, 100)
    # AiiDA creates its folder when it is imported, even by a command that then finds no profile.
    warnings.filterwarnings('ignore', 'Creating AiiDA configuration folder')
    app()
