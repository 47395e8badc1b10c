"""``mlip-autopipe computer``: computers that run jobs."""

from __future__ import annotations

from typing import Annotated

import typer

computer_app = typer.Typer(help='Add computers that run jobs.', no_args_is_help=True)


@computer_app.callback()
def _group() -> None:
    """Keep `add` a subcommand, although it is the only one."""


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
        typer.Option(help='Work directory of the jobs; by default, in $SCRATCH, $WORK or the home directory.'),
    ] = None,
    poll_s: Annotated[float, typer.Option('--poll', help='Time between queries of the scheduler, in seconds.')] = 10.0,
    connection_s: Annotated[
        float, typer.Option('--connection-interval', help='Minimum time between connections, in seconds.')
    ] = 5.0,
    profile: Annotated[str | None, typer.Option('--profile', '-p', help='AiiDA profile.')] = None,
) -> None:
    """Add a computer and test it.

    `ssh HOST` must work without a password. If the computer NAME exists, its settings are updated.
    """
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.core.errors import CombinedError
    from aiida_mlip_autopipe.installation.computers import Site, add_computer
    from aiida_mlip_autopipe.installation.profile import ensure_daemon, open_profile

    open_profile(profile)
    # AiiDA's transport to other machines requires the broker, which the daemon starts.
    ensure_daemon()
    computer, errors = add_computer(Site(name, host, scheduler, workdir, poll_s, connection_s))
    if errors:
        raise CombinedError(errors)
    console.print(
        f'[green]✓[/] computer [bold]{name}[/] ({computer.transport_type}, {computer.scheduler_type}) works; '
        f'jobs write to {computer.get_workdir()}'
    )
