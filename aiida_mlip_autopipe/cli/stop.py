"""``mlip-autopipe kill`` and ``clean``: stop a campaign, and remove its folders on the computers."""

from __future__ import annotations

from typing import Annotated

import typer

from aiida_mlip_autopipe.cli.provenance.options import Identifier, ProfileOption


def kill(
    identifier: Identifier,
    wait_s: Annotated[
        float, typer.Option('--wait', help='Maximum time in seconds to wait for running jobs to stop.')
    ] = 120.0,
    profile: ProfileOption = None,
) -> None:
    """Stop a campaign, a labelling run or a training run.

    Running jobs write a checkpoint, and their results are retrieved. All other jobs are killed. To continue from
    the checkpoints, use `resume`.
    """
    from aiida_mlip_autopipe.campaigns.restarts.stopping import stop_campaign
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.core.wording import counted
    from aiida_mlip_autopipe.installation.profile import open_profile
    from aiida_mlip_autopipe.workflows.graph import load_campaign

    open_profile(profile)
    campaign = load_campaign(identifier)
    with console.status('waiting for the jobs to write their checkpoints …'):
        stopped = stop_campaign(campaign, wait_s, lambda text: console.print(text, style='dim', markup=False))
    console.print(f'{counted(stopped.n_requested, "job")} stopped at a checkpoint, {stopped.n_killed} killed')


def clean(
    identifier: Identifier,
    force: Annotated[
        bool,
        typer.Option('--force', help='Also remove full trajectories without a copy, and checkpoints of killed jobs.'),
    ] = False,
    profile: ProfileOption = None,
) -> None:
    """Remove the job folders of finished explorations.

    Retrieved files are kept. Without --force, folders with the only copy of a full trajectory are also kept, and so
    are the folders of killed jobs from which the campaign can be resumed.
    """
    from aiida_mlip_autopipe.campaigns.cleaning import clean_campaign
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.core.wording import counted
    from aiida_mlip_autopipe.installation.profile import ensure_daemon, open_profile
    from aiida_mlip_autopipe.workflows.graph import load_campaign

    open_profile(profile)
    campaign = load_campaign(identifier)
    # AiiDA's transport to other machines requires the broker, which the daemon starts.
    ensure_daemon()
    cleaned = clean_campaign(campaign, force=force)
    console.print(f'{counted(cleaned.n_removed, "folder")} removed')
    if cleaned.kept:
        console.print(
            f'{counted(len(cleaned.kept), "folder")} kept because of full trajectories without a copy; list them with '
            f"'mlip-autopipe trajectories {identifier}', or remove the folders with 'clean --force'",
            style='yellow',
        )
    if cleaned.killed:
        console.print(
            f'folders of killed jobs kept: {len(cleaned.killed)}; continue from their checkpoints with '
            f"'mlip-autopipe resume {identifier}', or remove the folders with 'clean --force'",
            style='yellow',
        )
