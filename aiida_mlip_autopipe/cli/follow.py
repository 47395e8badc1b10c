"""The live display of a running campaign."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from aiida_mlip_autopipe.campaigns.labelling.progress import LabellingProgress
from aiida_mlip_autopipe.campaigns.progress import Progress, raise_if_failed, watch_campaign
from aiida_mlip_autopipe.campaigns.rounds.progress import RoundsProgress
from aiida_mlip_autopipe.campaigns.training.progress import TrainingProgress
from aiida_mlip_autopipe.cli.console import console
from aiida_mlip_autopipe.core.wording import counted

if TYPE_CHECKING:
    from aiida.orm import WorkChainNode


def follow_campaign(campaign: WorkChainNode) -> None:
    """Show the progress of a campaign until it ends.

    Raises
    ------
    AutopipeError
        If it failed.
    typer.Exit
        With status 130 if the user presses Ctrl-C. The campaign continues.
    """
    with outliving_ctrl_c() as submitted:
        submitted(campaign.pk)
        last = _follow_live(campaign) if console.is_terminal else _follow_in_lines(campaign)
    raise_if_failed(last)


@contextmanager
def outliving_ctrl_c() -> Iterator[Callable[[int], None]]:
    """If the user presses Ctrl-C in the block, print how to follow the campaign, which continues.

    Yields
    ------
    callable
        Called with the pk of the campaign as soon as it has been submitted. Before that, Ctrl-C ends the command.

    Raises
    ------
    typer.Exit
        With status 130.
    """
    pks: list[int] = []
    try:
        yield pks.append
    except KeyboardInterrupt:
        if not pks:
            raise
        console.print(f"it continues; follow it with 'mlip-autopipe status {pks[-1]} --follow'", style='yellow')
        raise typer.Exit(130) from None


def describe(progress: Progress) -> RenderableType:
    """Return a display of the progress of a campaign."""
    table = Table(show_header=False, box=None, padding=(0, 1))
    table.add_row('stage', Text(progress.stage, style='bold'))
    if progress.n_seeds:
        bar = ProgressBar(total=progress.n_seeds, completed=progress.n_succeeded + progress.n_failed, width=30)
        table.add_row('seeds', bar)
        table.add_row('', count_seeds(progress))
    if progress.labels is not None:
        table.add_row('labels', count_labels(progress.labels))
    if progress.rounds is not None:
        for title, text in describe_rounds(progress.rounds):
            table.add_row(title, Text(text))
    if progress.training is not None:
        table.add_row('training', describe_training(progress.training))
    table.add_row('elapsed', f'{_whole_seconds(progress.elapsed_s)}{_pace(progress)}')
    for text in _comparisons(progress):
        table.add_row('novelty', Text(text))
    for name, pk in (('resumes', progress.resumes), ('resumed as', progress.resumed_by)):
        if pk is not None:
            table.add_row(name, f'campaign {pk}')
    if progress.extends is not None:
        table.add_row('extends', Text(str(progress.extends)))
    if progress.extended_by:
        table.add_row('extended as', f'campaign {", ".join(map(str, progress.extended_by))}')
    lines: list[RenderableType] = [table]
    if progress.waits_for_daemon:
        lines.append(Text(_without_daemon(progress), style='yellow'))
    lines += [Text(text) for text in _queued(progress)]
    lines += [
        Text(
            f'job {one.pk} in {one.folder} is paused: {one.reason}; '
            f"resume it with 'mlip-autopipe resume {progress.pk}'",
            style='yellow',
        )
        for one in progress.paused
    ]
    lines += [Text(f'warning: {warning}', style='yellow') for warning in progress.warnings]
    return Group(*lines)


def describe_rounds(rounds: RoundsProgress) -> Iterator[tuple[str, str]]:
    """Yield a title and a text for the current round, for the labels, and for each finished round."""
    yield 'round', f'{rounds.number} of at most {rounds.maximum}'
    budget = '' if rounds.label_budget is None else f' of at most {rounds.label_budget}'
    yield 'labels in total', f'{rounds.n_labels}{budget}'
    for one in rounds.finished:
        limit = '' if one.force_error_limit_eV_A is None else f' (upper limit {one.force_error_limit_eV_A:.3f})'
        error = 'unknown' if one.force_error_eV_A is None else f'{one.force_error_eV_A:.3f}{limit} eV/Å'
        state = 'new model used' if one.accepted else 'new model refused'
        yield f'round {one.number}', f'force error {error}, target {rounds.target_force_error_eV_A:g} eV/Å; {state}'
        yield from (('', failure) for failure in one.failures)
        if one.n_labels_estimated is not None:
            low, median, high = one.n_labels_estimated
            yield '', f'estimated number of training labels for the target: {median:.0f} ({low:.0f} to {high:.0f})'
    if rounds.finished:
        yield 'decision', rounds.finished[-1].decision
    yield from (('suggestion', text) for text in rounds.suggestions)


def counts(progress: Progress) -> str:
    """Return text with the round, and the numbers of seeds, labels and epochs."""
    seeds = [count_seeds(progress)] if progress.n_seeds else []
    labels = [] if progress.labels is None else [f'labels: {count_labels(progress.labels)}']
    training = [] if progress.training is None else [describe_training(progress.training)]
    rounds = [] if progress.rounds is None else [f'round {progress.rounds.number} of {progress.rounds.maximum}']
    return '; '.join(rounds + seeds + labels + training)


def count_seeds(progress: Progress) -> str:
    """Return text with the numbers of seeds that are done, running, queued, failed and waiting."""
    text = f'{progress.n_succeeded} of {progress.n_seeds} done, {progress.n_running} running'
    text += f', {progress.n_queued} queued' if progress.n_queued else ''
    text += f', {progress.n_failed} failed'
    return text + (f', {progress.n_waiting} waiting' if progress.n_waiting else '')


def count_labels(labels: LabellingProgress) -> str:
    """Return text with the numbers of labels that are known, computed and failed, and of running jobs."""
    if labels.n_structures is None:
        return 'not yet known'
    jobs = f', {counted(labels.n_jobs_running, "job")} running' if labels.n_jobs_running else ''
    return (
        f'{labels.n_known + labels.n_labelled} of {labels.n_structures} done ({labels.n_known} already known), '
        f'{labels.n_failed} failed{jobs}'
    )


def describe_training(training: TrainingProgress) -> str:
    """Return text with the number of finished epochs, and the errors after the last one."""
    last = training.last
    if last is None:
        return f'0 of {counted(training.n_epochs, "epoch")} finished'
    errors = ''
    if last.valid_energy_rmse_eV_atom is not None and last.valid_force_rmse_eV_A is not None:
        energy, force = 1000 * last.valid_energy_rmse_eV_atom, last.valid_force_rmse_eV_A
        errors = f', validation errors {energy:.1f} meV/atom and {force:.3f} eV/Å'
    return f'epoch {last.epoch} of {training.n_epochs}{errors}'


def _follow_live(campaign: WorkChainNode) -> Progress:
    with Live(console=console, refresh_per_second=4) as live:
        for progress in watch_campaign(campaign):
            live.update(describe(progress))
    return progress


def _follow_in_lines(campaign: WorkChainNode) -> Progress:
    """Print a line for each change, for logs and pipes."""
    last = ''
    for progress in watch_campaign(campaign):
        line = f'{progress.stage}: {counts(progress)}'
        line += ''.join(f'; {text}' for text in _queued(progress))
        line += ''.join(f'; job {one.pk} in {one.folder} is paused: {one.reason}' for one in progress.paused)
        line += f'; {_without_daemon(progress)}' if progress.waits_for_daemon else ''
        if line != last:
            console.print(f'[{_whole_seconds(progress.elapsed_s)}] {line}', markup=False)
            last = line
    for text in _comparisons(progress):
        console.print(f'novelty: {text}', markup=False)
    for warning in progress.warnings:
        console.print(f'warning: {warning}', style='yellow', markup=False)
    return progress


def _comparisons(progress: Progress) -> list[str]:
    """Return what the explorations are compared with, without repetitions."""
    return list(dict.fromkeys(one.describe() for one in progress.comparisons))


def _queued(progress: Progress) -> list[str]:
    """Return which jobs wait in the queue of a scheduler, and why."""
    return [
        f'{counted(len(one.pks), "job")} {one.state} on {one.computer}' + (f': {one.reason}' if one.reason else '')
        for one in progress.queued
    ]


def _without_daemon(progress: Progress) -> str:
    return f"the daemon is not running; start it with 'mlip-autopipe resume {progress.pk}'"


def _pace(progress: Progress) -> str:
    if progress.stage != 'exploration' or progress.rate_per_hour is None or progress.remaining_s is None:
        return ''
    rate = counted(round(progress.rate_per_hour), 'seed')
    return f', {rate} per hour, {_whole_seconds(progress.remaining_s)} remaining'


def _whole_seconds(seconds: float) -> timedelta:
    return timedelta(seconds=round(seconds))
