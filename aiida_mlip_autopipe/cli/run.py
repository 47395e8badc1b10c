"""``mlip-autopipe run`` and ``extend``: run a campaign, from its config to its database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aiida_mlip_autopipe.cli.provenance.options import CampaignIdentifier, ProfileOption

if TYPE_CHECKING:
    from aiida_mlip_autopipe.campaigns.extending import Extension
    from aiida_mlip_autopipe.campaigns.submission import Announce, Submitted
    from aiida_mlip_autopipe.config import CampaignConfig


def run(
    file: Annotated[Path, typer.Argument(help='Config file.', show_default=False)],
    overrides: Annotated[
        list[str] | None, typer.Argument(help='Overrides, such as sampling.n_structures=500.', show_default=False)
    ] = None,
    detach: Annotated[bool, typer.Option('--detach', '-d', help='Submit the campaign and exit.')] = False,
    dry_run: Annotated[bool, typer.Option('--dry-run', help='Print the plan without starting anything.')] = False,
    force: Annotated[bool, typer.Option('--force', help='Overwrite an existing database.')] = False,
    profile: Annotated[str | None, typer.Option('--profile', '-p', help='AiiDA profile.')] = None,
) -> None:
    """Run a campaign and write its database.

    The progress is shown until the campaign ends. Ctrl-C does not stop the campaign.
    """
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.config import load_config
    from aiida_mlip_autopipe.core.atomic_write import refuse_existing

    config = load_config(file, overrides or ())
    if not detach and not dry_run:
        refuse_existing(config.database, force)

    from aiida_mlip_autopipe.campaigns.submission import submit_campaign
    from aiida_mlip_autopipe.installation.profile import open_profile

    open_profile(profile)
    if dry_run:
        _show_plan(config)
        return
    _run(lambda announce: submit_campaign(config, console.print, announce), detach=detach, force=force)


def extend(
    identifier: CampaignIdentifier,
    overrides: Annotated[
        list[str] | None, typer.Argument(help='Overrides, such as exploration.n_steps=4000.', show_default=False)
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            '--name', help='Name of the new campaign; by default, the old name with the next number, such as cu-2.'
        ),
    ] = None,
    detach: Annotated[bool, typer.Option('--detach', '-d', help='Submit the campaign and exit.')] = False,
    dry_run: Annotated[bool, typer.Option('--dry-run', help='Print the plan without starting anything.')] = False,
    force: Annotated[bool, typer.Option('--force', help='Overwrite an existing database.')] = False,
    wait_s: Annotated[
        float, typer.Option('--wait', help='Maximum time in seconds to wait for running processes to stop.')
    ] = 120.0,
    profile: ProfileOption = None,
) -> None:
    """Run a campaign again with other settings, and reuse what it has computed.

    The overrides change the config of the campaign, which the graph contains. Unchanged seeds are kept, and their
    explorations are reused or continued. The new campaign has a new name and database, and its rows name the earlier
    campaign.
    """
    from aiida_mlip_autopipe.campaigns.extending import plan_extension, submit_extension
    from aiida_mlip_autopipe.cli.console import console, long_work
    from aiida_mlip_autopipe.core.atomic_write import refuse_existing
    from aiida_mlip_autopipe.installation.profile import open_profile
    from aiida_mlip_autopipe.workflows.graph import load_campaign

    open_profile(profile)
    with long_work('comparing the configs'):
        extension = plan_extension(load_campaign(identifier), overrides or (), name)
    if not detach and not dry_run:
        refuse_existing(extension.config.database, force)
    for line in _describe_extension(extension):
        console.print(line, markup=False)
    if dry_run:
        console.print('the campaign without reuse:')
        _show_plan(extension.config)
        return

    def notify(message: str) -> None:
        console.print(message, markup=False)

    _run(lambda announce: submit_extension(extension, notify, announce, wait_s), detach=detach, force=force)


def _describe_extension(extension: Extension) -> Iterator[str]:
    from aiida_mlip_autopipe.core.wording import counted

    reuse = extension.reuse
    yield f'{extension.config.name} extends campaign {extension.campaign.label}, id {extension.campaign.pk}'
    seeds = {'kept': reuse.n_seeds_kept, 'new': reuse.n_seeds_new, 'dropped': reuse.n_seeds_dropped}
    explorations = {
        'reused completely': reuse.n_repeated,
        'continued': reuse.n_continued,
        'unfinished': reuse.n_unfinished,
        'from the seed': reuse.n_restarted + reuse.n_seeds_new,
    }
    for title, counts in (('seeds', seeds), ('explorations', explorations)):
        yield f'{title}: {", ".join(f"{n} {what}" for what, n in counts.items() if n)}'
    yield f'steps: {reuse.n_steps_reused:,} of {counted(reuse.n_steps, "step")} reused'
    yield from reuse.reasons


def _run(submit: Callable[[Announce], Submitted], *, detach: bool, force: bool) -> None:
    """Submit a campaign, show its progress until it ends, and write its database."""
    from aiida_mlip_autopipe.campaigns.export import write_dataset
    from aiida_mlip_autopipe.cli.console import console, long_work
    from aiida_mlip_autopipe.cli.follow import follow_campaign, outliving_ctrl_c
    from aiida_mlip_autopipe.core.wording import counted
    from aiida_mlip_autopipe.workflows.graph import load_campaign

    with outliving_ctrl_c() as submitted_as:

        def announce(submitted: Submitted) -> None:
            submitted_as(submitted.pk)
            console.print(f'campaign [bold]{submitted.name}[/] submitted, id {submitted.pk}')

        with long_work('checking and submitting the campaign'):
            submitted = submit(announce)
        if detach:
            console.print(
                f"show its progress with 'mlip-autopipe status {submitted.pk}'; when it has finished, "
                f"write its database with 'mlip-autopipe export {submitted.pk} -o {submitted.database}'"
            )
            return
        campaign = load_campaign(submitted.uuid)
        follow_campaign(campaign)
        n_rows = write_dataset(campaign, submitted.database, force=force)
    console.print(f'[green]✓[/] {counted(n_rows, "structure")} in [bold]{submitted.database}[/]')


def _show_plan(config: CampaignConfig) -> None:
    from datetime import timedelta

    from rich.table import Table

    from aiida_mlip_autopipe.campaigns.estimate import plan_campaign
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.cli.description import describe_cost
    from aiida_mlip_autopipe.core.wording import counted

    plan = plan_campaign(config)
    estimate = plan.estimate
    table = Table(show_header=False, box=None)
    table.add_row('campaign', plan.name)
    table.add_row('code', f'{", ".join(plan.codes)}, {counted(plan.concurrent_jobs, "concurrent job")}')
    table.add_row('seeds', f'{estimate.n_seeds}, {counted(round(estimate.mean_atoms), "atom")} on average')
    table.add_row('jobs', str(estimate.n_jobs))
    table.add_row('force calls', f'{estimate.force_calls:,}')
    bound = 'at most ' if plan.reaches_coverage else ''
    always = f', plus {estimate.n_always_selected:,} of always_selected_kinds'
    selected = f'{bound}{plan.n_structures} will be selected{always if estimate.n_always_selected else ""}'
    table.add_row('frames', f'{estimate.n_frames:,}, of which {selected}')
    if plan.level is not None:
        table.add_row('labels', f'at most {estimate.n_labels:,} at the level {plan.level.name}')
        table.add_row('cost of labels', describe_cost(plan.labels_cost))
    without_labels = '' if plan.level is None else ', without the labels'
    table.add_row(
        'time',
        'unknown for this calculator'
        if estimate.wall_s is None
        else f'about {timedelta(seconds=round(estimate.wall_s))} on the CPU cores used for the benchmarks'
        f'{without_labels}',
    )
    if plan.rounds is not None:
        rounds = plan.rounds
        table.add_row('rounds', f'at most {rounds.maximum}; the values above are for the first round')
        table.add_row('labels in total', f'at most {rounds.n_labels:,}, {rounds.labels_per_round:,} in each round')
        hours = 'unknown' if rounds.training_s is None else f'about {rounds.training_s / 3600:.1f} core hours'
        table.add_row('training runs', f'at most {rounds.n_trainings}; time on CPUs: {hours}')
    table.add_row('disk', f'about {estimate.disk_MB:.1f} MB')
    console.print(table)
    for warning in plan.warnings:
        console.print(warning, style='yellow', markup=False)
    console.print('nothing was started', style='dim')
