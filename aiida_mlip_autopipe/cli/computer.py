"""``mlip-autopipe computer``: the computers that run jobs."""

from __future__ import annotations

from typing import Annotated

import typer

computer_app = typer.Typer(help='Add computers that run jobs.', no_args_is_help=True)


@computer_app.callback()
def _group() -> None:
    """Keep `add` as a subcommand."""


@computer_app.command()
def add(
    name: Annotated[str, typer.Argument(help='Name of the computer.', show_default=False)],
    host: Annotated[
        str, typer.Option(prompt='Host, as in `ssh HOST` (localhost for this machine)', help='Host, as in `ssh HOST`.')
    ],
    scheduler: Annotated[
        str,
        typer.Option(
            prompt='Scheduler (slurm, pbspro, torque, sge, lsf or direct)',
            help='slurm, pbspro, torque, sge, lsf or direct.',
        ),
    ],
    workdir: Annotated[
        str | None,
        typer.Option(help='Work directory; by default, in $SCRATCH, $WORK or the home directory.'),
    ] = None,
    poll_s: Annotated[float, typer.Option('--poll', help='Seconds between queries of the scheduler.')] = 10.0,
    connection_s: Annotated[
        float, typer.Option('--connection-interval', help='Minimum seconds between connections.')
    ] = 5.0,
    profile: Annotated[str | None, typer.Option('--profile', '-p', help='AiiDA profile.')] = None,
) -> None:
    """Add a computer that `ssh HOST` reaches without a password, and test it.

    For an existing NAME, it replaces the settings.
    """
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.core.errors import CombinedError
    from aiida_mlip_autopipe.installation.computers import Site, add_computer
    from aiida_mlip_autopipe.installation.profile import ensure_daemon, open_profile

    open_profile(profile)
    # The transport of AiiDA to other machines requires the broker, which the daemon starts.
    ensure_daemon()
    computer, troubles = add_computer(Site(name, host, scheduler, workdir, poll_s, connection_s))
    if troubles:
        raise CombinedError(troubles)
    console.print(
        f'[green]✓[/] computer [bold]{name}[/] ({computer.transport_type}, {computer.scheduler_type}) works; '
        f'jobs write to {computer.get_workdir()}'
    )
