"""The live display of a running campaign."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from aiida_mlip_autopipe.campaigns.progress import Progress, elapsed, read_progress
from aiida_mlip_autopipe.cli.console import console
from aiida_mlip_autopipe.core.errors import AutopipeError

if TYPE_CHECKING:
    from aiida.orm import WorkChainNode

POLL_S = 1.0


def follow_campaign(campaign: WorkChainNode) -> None:
    """Show how far a campaign is until it has ended.

    Raises
    ------
    AutopipeError
        If it failed.
    typer.Exit
        With status 130 if the user interrupts; the campaign goes on.
    """
    try:
        if console.is_terminal:
            _follow_live(campaign)
        else:
            _follow_in_lines(campaign)
    except KeyboardInterrupt:
        console.print(
            f"the campaign goes on; 'mlip-autopipe status {campaign.pk} --follow' comes back to it", style='yellow'
        )
        raise typer.Exit(130) from None
    if not campaign.is_finished_ok:
        reason = campaign.exit_message or campaign.process_status or campaign.process_state.value
        raise AutopipeError(f"campaign {campaign.pk} failed: {reason}; 'verdi process report {campaign.pk}' tells more")


def describe(campaign: WorkChainNode, progress: Progress) -> RenderableType:
    """Return what a person wants to see of a campaign."""
    table = Table(show_header=False, box=None, padding=(0, 1))
    table.add_row('stage', Text(progress.stage, style='bold'))
    done = progress.n_succeeded + progress.n_failed
    bar = ProgressBar(total=max(progress.n_seeds, 1), completed=done, width=30)
    table.add_row('seeds', bar)
    table.add_row('', counts(progress))
    table.add_row('elapsed', f'{_whole_seconds(elapsed(campaign))}{_pace(progress)}')
    lines: list[RenderableType] = [table]
    lines += [
        Text(f'job {one.pk} is paused: {one.reason}; mlip-autopipe resume {campaign.pk} plays it', style='yellow')
        for one in progress.paused
    ]
    lines += [Text(warning, style='yellow') for warning in _warnings(campaign)]
    return Group(*lines)


def counts(progress: Progress) -> str:
    """Return how many seeds are done, running, failed and waiting, as text."""
    waiting = progress.n_seeds - len(progress.explorations)
    text = (
        f'{progress.n_succeeded} of {progress.n_seeds} done, {progress.n_running} running, {progress.n_failed} failed'
    )
    return text + (f', {waiting} waiting' if waiting > 0 and progress.stage in ('generation', 'exploration') else '')


def _follow_live(campaign: WorkChainNode) -> None:
    with Live(describe(campaign, read_progress(campaign)), console=console, refresh_per_second=4) as live:
        while not campaign.is_terminated:
            time.sleep(POLL_S)
            live.update(describe(campaign, read_progress(campaign)))


def _follow_in_lines(campaign: WorkChainNode) -> None:
    """Print a line at each change: for logs and pipes."""
    last = ''
    while True:
        ended = campaign.is_terminated
        progress = read_progress(campaign)
        line = f'{progress.stage}: {counts(progress)}'
        if progress.paused:
            line += ''.join(f'; job {one.pk} is paused: {one.reason}' for one in progress.paused)
        if line != last:
            console.print(f'[{_whole_seconds(elapsed(campaign))}] {line}', markup=False)
            last = line
        if ended:
            for warning in _warnings(campaign):
                console.print(warning, style='yellow', markup=False)
            return
        time.sleep(POLL_S)


def _warnings(campaign: WorkChainNode) -> list[str]:
    """Return where the selection is not what was asked for."""
    if 'selection_report' not in campaign.outputs:
        return []
    return [f'attention: {warning}' for warning in campaign.outputs.selection_report['warnings']]


def _pace(progress: Progress) -> str:
    if progress.stage != 'exploration' or progress.rate_per_hour is None or progress.remaining is None:
        return ''
    return f', {progress.rate_per_hour:.0f} seeds an hour, {_whole_seconds(progress.remaining)} to go'


def _whole_seconds(span: timedelta) -> timedelta:
    return timedelta(seconds=round(span.total_seconds()))
