"""``mlip-autopipe kill`` and ``clean``: an end before the end, and what is left on the computers."""

from __future__ import annotations

from typing import Annotated

import typer

from aiida_mlip_autopipe.cli.status import Identifier, ProfileOption


def kill(
    identifier: Identifier,
    wait_s: Annotated[float, typer.Option('--wait', help='Seconds that running jobs may take to end.')] = 120.0,
    profile: ProfileOption = None,
) -> None:
    """Stop a campaign: jobs that run write a checkpoint and are read, the others are killed.

    The same file again goes on where it was.
    """
    from aiida_mlip_autopipe.campaigns.stopping import stop_campaign
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.installation.profile import open_profile
    from aiida_mlip_autopipe.workflows.graph import load_campaign

    open_profile(profile)
    campaign = load_campaign(identifier)
    with console.status('waiting for the jobs to write their checkpoints …'):
        stopped = stop_campaign(campaign, wait_s)
    console.print(f'{stopped.n_asked} jobs stopped at a checkpoint, {stopped.n_killed} killed')


def clean(
    identifier: Identifier,
    force: Annotated[
        bool, typer.Option('--force', help='Also remove full trajectories that were not stashed.')
    ] = False,
    profile: ProfileOption = None,
) -> None:
    """Remove the folders of a campaign's ended explorations on the computers; all that was retrieved stays.

    A folder that holds the only copy of a full trajectory stays too, unless --force is given.
    """
    from aiida_mlip_autopipe.campaigns.cleaning import clean_campaign
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.installation.profile import ensure_daemon, open_profile
    from aiida_mlip_autopipe.workflows.graph import load_campaign

    open_profile(profile)
    campaign = load_campaign(identifier)
    # AiiDA's transport to other machines needs the broker, which the daemon starts.
    ensure_daemon()
    cleaned = clean_campaign(campaign, force=force)
    console.print(f'{cleaned.n_removed} folders removed')
    if cleaned.kept:
        console.print(
            f'{len(cleaned.kept)} folders stay: each holds the only copy of a full trajectory '
            f"('mlip-autopipe trajectories {identifier}' lists them, 'clean --force' removes them)",
            style='yellow',
        )
