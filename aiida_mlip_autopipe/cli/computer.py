"""``mlip-autopipe computer``: where jobs run."""

from __future__ import annotations

from typing import Annotated

import typer

computer_app = typer.Typer(help='Add computers for jobs to run on.', no_args_is_help=True)


@computer_app.callback()
def _group() -> None:
    """Keep `add` a command of its own."""


@computer_app.command()
def add(
    name: Annotated[str, typer.Argument(help='What it shall be called.', show_default=False)],
    host: Annotated[
        str, typer.Option(prompt='Host, as in `ssh HOST` (localhost for this machine)', help='As in `ssh HOST`.')
    ],
    scheduler: Annotated[
        str, typer.Option(prompt='Scheduler (slurm, pbspro, torque, sge, lsf or direct)', help='Its scheduler.')
    ],
    workdir: Annotated[
        str | None, typer.Option(help='Where jobs write; by default below $SCRATCH, $WORK or the home there.')
    ] = None,
    poll_s: Annotated[float, typer.Option('--poll', help='Seconds between two questions to the scheduler.')] = 10.0,
    connection_s: Annotated[
        float, typer.Option('--connection-interval', help='Seconds between two connections at least.')
    ] = 5.0,
    profile: Annotated[str | None, typer.Option('--profile', '-p', help='AiiDA profile.')] = None,
) -> None:
    """Add a computer that `ssh HOST` reaches without a password, test it, and say what is wrong.

    Run again for the same NAME, it writes the settings anew.
    """
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.core.errors import CombinedError
    from aiida_mlip_autopipe.installation.computers import Site, add_computer
    from aiida_mlip_autopipe.installation.profile import ensure_daemon, open_profile

    open_profile(profile)
    # AiiDA's transport to other machines needs the broker, which the daemon starts.
    ensure_daemon()
    computer, troubles = add_computer(Site(name, host, scheduler, workdir, poll_s, connection_s))
    if troubles:
        raise CombinedError(troubles)
    console.print(
        f'[green]✓[/] computer [bold]{name}[/] ({computer.transport_type}, {computer.scheduler_type}) works; '
        f'jobs write to {computer.get_workdir()}'
    )
