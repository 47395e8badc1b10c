"""The commands that show the progress of campaigns, resume them, and show or write their results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aiida_mlip_autopipe.cli.dataset.options import JsonOption, Labels
from aiida_mlip_autopipe.cli.provenance.options import (
    ARCHIVE_HELP,
    CampaignIdentifier,
    CampaignOrArchive,
    DatasetRunOrArchive,
    Identifier,
    ProfileOption,
)

if TYPE_CHECKING:
    from aiida.orm import WorkChainNode

    from aiida_mlip_autopipe.campaigns.progress import Progress
    from aiida_mlip_autopipe.campaigns.status import Status


def status(
    identifier: Annotated[str | None, typer.Argument(metavar='ID', help=ARCHIVE_HELP, show_default=False)] = None,
    follow: Annotated[bool, typer.Option('--follow', '-f', help='Show the progress until the campaign ends.')] = False,
    as_json: JsonOption = False,
    profile: ProfileOption = None,
) -> None:
    """List all campaigns, labelling runs and training runs, or show the progress of one."""
    from aiida_mlip_autopipe.cli.console import print_json
    from aiida_mlip_autopipe.cli.provenance.opening import opened
    from aiida_mlip_autopipe.core.codes import Code
    from aiida_mlip_autopipe.core.errors import AutopipeError

    if follow and (as_json or identifier is None):
        raise AutopipeError(Code.VALUES_EXCLUDE, '--follow requires an ID and cannot be combined with --json')
    with opened(identifier or '', profile) as campaign:
        from aiida_mlip_autopipe.campaigns.progress import list_progress
        from aiida_mlip_autopipe.campaigns.status import read_status
        from aiida_mlip_autopipe.cli.follow import follow_campaign
        from aiida_mlip_autopipe.workflows.graph import load_campaign

        if identifier is None:
            found = list_progress()
            print_json(found) if as_json else _print_table(found)
        elif follow:
            follow_campaign(load_campaign(campaign))
        else:
            read = read_status(load_campaign(campaign))
            print_json(read) if as_json else _print_status(read)


def resume(
    identifier: Identifier,
    wait_s: Annotated[
        float, typer.Option('--wait', help='Maximum time in seconds to wait for running processes to stop.')
    ] = 120.0,
    profile: ProfileOption = None,
) -> None:
    """Continue a campaign, a labelling run or a training run.

    If it has not ended, its paused jobs are resumed, and the daemon is started if necessary. If it was stopped or
    killed, or failed, it is submitted again with the same inputs, and finished results are reused.
    """
    from aiida_mlip_autopipe.campaigns.resuming import resume_campaign
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.core.wording import counted
    from aiida_mlip_autopipe.installation.profile import open_profile
    from aiida_mlip_autopipe.workflows.graph import load_campaign

    open_profile(profile)
    campaign = load_campaign(identifier)

    def announce(submitted: WorkChainNode) -> None:
        console.print(f'campaign [bold]{submitted.label}[/] submitted again, id {submitted.pk}')
        console.print(f"show its progress with 'mlip-autopipe status {submitted.pk} --follow'")

    done = resume_campaign(campaign, lambda message: console.print(message, markup=False), wait_s, announce)
    if done.daemon_started:
        console.print('daemon started', style='dim')
    if done.has_finished:
        console.print(f'campaign {done.campaign.pk} has finished; nothing was done')
        return
    if done.submitted:
        return
    if done.campaign.pk != campaign.pk:
        console.print(f'campaign {campaign.pk} was resumed as {done.campaign.pk}, which has not ended')
    if done.requeued:
        console.print(f'{counted(len(done.requeued), "process")} had been lost and will be run again')
    if done.released:
        console.print(
            f'{counted(len(done.released), "job")} had already ended, but AiiDA was waiting for another process '
            'with the same process id'
        )
    for one in done.resumed:
        console.print(f'job {one.pk} in {one.folder} was paused: {one.reason}', markup=False)
    console.print(f'{counted(len(done.resumed), "job")} resumed')


def trajectories(
    identifier: CampaignIdentifier,
    seed: Annotated[str | None, typer.Option('--seed', help='List only the trajectories of this seed.')] = None,
    step: Annotated[
        int | None, typer.Option('--step', min=0, help='List only trajectories that contain this step.')
    ] = None,
    profile: ProfileOption = None,
) -> None:
    """List the full trajectories of a campaign.

    The list contains the seed, the steps, the size and the file of each trajectory.
    """
    from rich.filesize import decimal
    from rich.table import Table

    from aiida_mlip_autopipe.campaigns.full_trajectories import find_full_trajectories
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.installation.profile import open_profile
    from aiida_mlip_autopipe.workflows.graph import load_campaign

    open_profile(profile)
    table = Table('seed', 'steps', 'frames', 'size', 'sha256', 'state', 'file', box=None, padding=(0, 2, 0, 0))
    for one in find_full_trajectories(load_campaign(identifier), seed_id=seed, step=step):
        file = one.record
        table.add_row(
            one.seed_id,
            f'{file.first_step}-{file.last_step}',
            str(file.n_frames),
            decimal(file.size_bytes),
            file.sha256[:12],
            one.state,
            f'{one.computer}:{one.path}',
        )
    console.print(table if table.rows else 'no full trajectories', soft_wrap=True)


def export(
    identifier: DatasetRunOrArchive,
    output: Annotated[Path, typer.Option('--output', '-o', help='Database to write.', show_default=False)],
    labels: Labels = None,
    force: Annotated[bool, typer.Option('--force', help='Overwrite an existing file.')] = False,
    profile: ProfileOption = None,
) -> None:
    """Write the dataset of a finished campaign or labelling run."""
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.cli.provenance.opening import opened
    from aiida_mlip_autopipe.core.wording import counted

    with opened(identifier, profile) as campaign:
        from aiida_mlip_autopipe.campaigns.export import write_dataset
        from aiida_mlip_autopipe.workflows.graph import load_campaign

        n_rows = write_dataset(load_campaign(campaign), output, labels=labels, force=force)
    console.print(f'[green]✓[/] {counted(n_rows, "structure")} in [bold]{output}[/]')


def report(
    identifier: CampaignOrArchive,
    output: Annotated[
        Path | None,
        typer.Option(
            '--output',
            '-o',
            help='HTML file to write, with a JSON file next to it.',
            show_default=False,
        ),
    ] = None,
    force: Annotated[bool, typer.Option('--force', help='Overwrite existing files.')] = False,
    as_json: JsonOption = False,
    profile: ProfileOption = None,
) -> None:
    """Write the report card of a finished campaign.

    It shows the quality of the selection and the cost of the campaign. The card of a campaign with rounds shows the
    errors of its models, the error bounds and suggestions; the selection of each round has a separate card. Labelling
    and training runs have no report card.
    """
    from aiida_mlip_autopipe.cli.console import console, print_json
    from aiida_mlip_autopipe.cli.provenance.opening import opened
    from aiida_mlip_autopipe.core.codes import Code
    from aiida_mlip_autopipe.core.errors import AutopipeError
    from aiida_mlip_autopipe.core.wording import counted
    from aiida_mlip_autopipe.reporting.report_card import refuse_report_file

    if as_json == (output is not None):
        code = Code.VALUES_EXCLUDE if as_json else Code.VALUES_INCOMPLETE
        raise AutopipeError(code, 'use either --output FILE, for an HTML page, or --json')
    if output is not None:
        refuse_report_file(output, force)
    with opened(identifier, profile) as campaign:
        from aiida_mlip_autopipe.campaigns.report import read_campaign_report, write_campaign_report
        from aiida_mlip_autopipe.workflows.graph import load_campaign

        node = load_campaign(campaign)
        if output is None:
            print_json(read_campaign_report(node))
            return
        n_rows = write_campaign_report(node, output, force=force)
    console.print(f'[green]✓[/] report card of {counted(n_rows, "structure")} in [bold]{output}[/]')


def _print_table(campaigns: Sequence[Progress]) -> None:
    from rich.table import Table

    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.cli.follow import counts

    table = Table('id', 'campaign', 'started', 'stage', 'seeds', box=None, padding=(0, 2, 0, 0))
    for one in campaigns:
        paused = f', {len(one.paused)} paused' if one.paused else ''
        stage = f'{one.stage}, no daemon' if one.waits_for_daemon else one.stage
        stage += f', resumed as {one.resumed_by}' if one.resumed_by else ''
        started = f'{one.started.astimezone():%Y-%m-%d %H:%M}'
        table.add_row(str(one.pk), one.name, started, stage, counts(one) + paused)
    console.print(table if table.rows else "no campaigns; start one with 'mlip-autopipe run FILE'")


def _print_status(status: Status) -> None:
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.cli.follow import describe

    console.print(f'campaign [bold]{status.progress.name}[/], id {status.progress.pk}')
    console.print(describe(status.progress))
    if status.progress.failure:
        console.print(f'failed: {status.progress.failure}', style='red', markup=False)
        if status.progress.resumed_by is None:
            console.print(f"continue it with 'mlip-autopipe resume {status.progress.pk}'")
    for one in status.failed_explorations:
        console.print(f'seed {one.seed_id} (exploration {one.pk}): {one.reason}', markup=False)
    if status.full_trajectories is not None:
        summary = status.full_trajectories
        states = {
            'stashed': summary.n_stashed,
            "in the job's folder": summary.n_in_job_folder,
            'removed': summary.n_removed,
        }
        numbers = ', '.join(f'{n} {state}' for state, n in states.items() if n)
        console.print(f'full trajectories: {numbers or "none yet"}')
        for found in summary.not_stashed:
            console.print(f'{found.computer}:{found.path} could not be stashed: {found.stash_error}', markup=False)
