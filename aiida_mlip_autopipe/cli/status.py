"""``mlip-autopipe status``, ``resume``, ``trajectories``, ``export`` and ``report``: what became of a campaign."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from aiida import orm

Identifier = Annotated[str, typer.Argument(metavar='ID', help='pk, uuid or name of a campaign.', show_default=False)]
ProfileOption = Annotated[str | None, typer.Option('--profile', '-p', help='AiiDA profile.')]


def status(
    identifier: Annotated[
        str | None, typer.Argument(metavar='[ID]', help='pk, uuid or name of a campaign.', show_default=False)
    ] = None,
    follow: Annotated[bool, typer.Option('--follow', '-f', help='Stay and show how it goes on.')] = False,
    profile: ProfileOption = None,
) -> None:
    """List the campaigns, or tell how far one is."""
    from aiida_mlip_autopipe.campaigns.progress import read_progress
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.cli.follow import describe, follow_campaign
    from aiida_mlip_autopipe.installation.profile import open_profile
    from aiida_mlip_autopipe.workflows.graph import load_campaign

    open_profile(profile)
    if identifier is None:
        _list_campaigns()
        return
    campaign = load_campaign(identifier)
    if follow:
        follow_campaign(campaign)
        return
    progress = read_progress(campaign)
    console.print(f'campaign [bold]{campaign.label}[/], id {campaign.pk}')
    console.print(describe(campaign, progress))
    if campaign.is_terminated and campaign.exit_message:
        console.print(f'failed: {campaign.exit_message}', style='red', markup=False)
    _print_failures(progress.explorations)
    _print_full_trajectories(campaign)


def resume(identifier: Identifier, profile: ProfileOption = None) -> None:
    """Take up a campaign again: start the daemon, as after a crash, and play the jobs that AiiDA has paused."""
    from aiida import orm

    from aiida_mlip_autopipe.aiida_internals import play_processes
    from aiida_mlip_autopipe.campaigns.progress import read_progress
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.installation.profile import ensure_daemon, open_profile
    from aiida_mlip_autopipe.workflows.graph import load_campaign

    open_profile(profile)
    campaign = load_campaign(identifier)
    if ensure_daemon():
        console.print('daemon started', style='dim')
    paused = read_progress(campaign).paused
    for one in paused:
        console.print(f'job {one.pk} was paused: {one.reason}', markup=False)
    if paused:
        play_processes([orm.load_node(one.pk) for one in paused], timeout_s=30)
    console.print(f'{len(paused)} jobs played')


def trajectories(
    identifier: Identifier,
    seed: Annotated[str | None, typer.Option('--seed', help='Only those of this seed.')] = None,
    step: Annotated[int | None, typer.Option('--step', min=0, help='Only those that reach over this step.')] = None,
    profile: ProfileOption = None,
) -> None:
    """List the full trajectories of a campaign: seed, steps, size, and where each file is."""
    from rich.filesize import decimal
    from rich.table import Table

    from aiida_mlip_autopipe.campaigns.full_trajectories import find_full_trajectories
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.installation.profile import open_profile
    from aiida_mlip_autopipe.workflows.graph import load_campaign

    open_profile(profile)
    table = Table('seed', 'steps', 'frames', 'size', 'sha256', 'state', 'file', box=None, padding=(0, 2, 0, 0))
    for one in find_full_trajectories(load_campaign(identifier)):
        told = one.told
        is_of_seed = seed is None or one.seed_id == seed.removeprefix('seed_').removeprefix('seed-')
        if not is_of_seed or (step is not None and not told.first_step <= step <= told.last_step):
            continue
        table.add_row(
            one.seed_id,
            f'{told.first_step}-{told.last_step}',
            str(told.n_frames),
            decimal(told.size_bytes),
            told.sha256[:12],
            one.state,
            f'{one.computer}:{one.path}',
        )
    console.print(table if table.rows else 'no full trajectory', soft_wrap=True)


def export(
    identifier: Identifier,
    output: Annotated[Path, typer.Option('--output', '-o', help='The database to write.', show_default=False)],
    force: Annotated[bool, typer.Option('--force', help='Overwrite an existing file.')] = False,
    profile: ProfileOption = None,
) -> None:
    """Write the dataset of a finished campaign."""
    from aiida_mlip_autopipe.campaigns.export import write_dataset
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.installation.profile import open_profile
    from aiida_mlip_autopipe.workflows.graph import load_campaign

    open_profile(profile)
    n_rows = write_dataset(load_campaign(identifier), output, force=force)
    console.print(f'[green]✓[/] {n_rows} structures in [bold]{output}[/]')


def report(
    identifier: Identifier,
    output: Annotated[
        Path,
        typer.Option('--output', '-o', help='The .html file to write; its numbers stand beside.', show_default=False),
    ],
    force: Annotated[bool, typer.Option('--force', help='Overwrite existing files.')] = False,
    profile: ProfileOption = None,
) -> None:
    """Write the report card of a finished campaign: what its selection is worth, and what it cost."""
    from aiida_mlip_autopipe.campaigns.report import write_campaign_report
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.core.errors import AutopipeError
    from aiida_mlip_autopipe.core.whole_file import refuse_existing
    from aiida_mlip_autopipe.installation.profile import open_profile
    from aiida_mlip_autopipe.workflows.graph import load_campaign

    if output.suffix != '.html':
        raise AutopipeError(f'a report card is written to a file that ends in .html, not to {output}')
    for path in (output, output.with_suffix('.json')):
        refuse_existing(path, force)
    open_profile(profile)
    n_rows = write_campaign_report(load_campaign(identifier), output, force=force)
    console.print(f'[green]✓[/] the report card of {n_rows} structures in [bold]{output}[/]')


def _list_campaigns() -> None:
    from rich.table import Table

    from aiida_mlip_autopipe.campaigns.progress import read_progress
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.cli.follow import counts
    from aiida_mlip_autopipe.workflows.graph import list_campaigns

    table = Table('id', 'campaign', 'started', 'stage', 'seeds', box=None, padding=(0, 2, 0, 0))
    for campaign in list_campaigns():
        progress = read_progress(campaign)
        paused = f', {len(progress.paused)} paused' if progress.paused else ''
        table.add_row(
            str(campaign.pk),
            campaign.label,
            f'{campaign.ctime.astimezone():%Y-%m-%d %H:%M}',
            progress.stage,
            counts(progress) + paused,
        )
    console.print(table if table.rows else "no campaign yet; 'mlip-autopipe run FILE' starts one")


def _print_failures(explorations: tuple) -> None:  # type: ignore[type-arg]
    from aiida import orm

    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.workflows.exploration import why_ended

    for one in explorations:
        if one.ended and not one.succeeded:
            console.print(
                f'seed {one.seed_id} (exploration {one.pk}): {why_ended(orm.load_node(one.pk))}', markup=False
            )


def _print_full_trajectories(campaign: orm.WorkChainNode) -> None:
    from collections import Counter

    from aiida_mlip_autopipe.campaigns.full_trajectories import find_full_trajectories, keeps_full_trajectories
    from aiida_mlip_autopipe.cli.console import console

    if not keeps_full_trajectories(campaign):
        return
    found = find_full_trajectories(campaign)
    states = Counter(one.state for one in found)
    console.print('full trajectories: ' + (', '.join(f'{n} {state}' for state, n in states.items()) or 'none yet'))
    for one in found:
        if one.why_not:
            console.print(f'{one.computer}:{one.path} could not be stashed: {one.why_not}', markup=False)
