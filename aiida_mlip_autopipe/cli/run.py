"""``mlip-autopipe run``: run a campaign, from its config to its database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
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
    from aiida_mlip_autopipe.cli.console import console, long_work
    from aiida_mlip_autopipe.config import load_config
    from aiida_mlip_autopipe.core.atomic_write import refuse_existing

    config = load_config(file, overrides or ())
    if dry_run:
        _show_plan(config, profile)
        return
    if not detach:
        refuse_existing(config.database, force)

    from aiida_mlip_autopipe.campaigns.export import write_dataset
    from aiida_mlip_autopipe.campaigns.submission import submit_campaign
    from aiida_mlip_autopipe.cli.follow import follow_campaign
    from aiida_mlip_autopipe.core.wording import counted
    from aiida_mlip_autopipe.installation.profile import open_profile
    from aiida_mlip_autopipe.workflows.graph import load_campaign

    open_profile(profile)
    with long_work('checking and submitting the campaign'):
        submitted = submit_campaign(config, notify=console.print)
    console.print(f'campaign [bold]{submitted.name}[/] submitted, id {submitted.pk}')
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


def _show_plan(config: CampaignConfig, profile: str | None) -> None:
    from datetime import timedelta

    from rich.table import Table

    from aiida_mlip_autopipe.campaigns.estimate import plan_campaign
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.cli.description import describe_cost
    from aiida_mlip_autopipe.core.wording import counted
    from aiida_mlip_autopipe.installation.profile import open_profile

    open_profile(profile)
    plan = plan_campaign(config)
    estimate = plan.estimate
    table = Table(show_header=False, box=None)
    table.add_row('campaign', plan.name)
    table.add_row('code', f'{", ".join(plan.codes)}, {counted(plan.concurrent_jobs, "concurrent job")}')
    table.add_row('seeds', f'{estimate.n_seeds}, {estimate.mean_atoms:.0f} atoms on average')
    table.add_row('jobs', str(estimate.n_jobs))
    table.add_row('force calls', f'{estimate.force_calls:,}')
    bound = 'at most ' if plan.reaches_coverage else ''
    always = f', plus {estimate.n_always_selected:,} frames of always_selected_kinds'
    selected = f'{bound}{plan.n_structures} are selected{always if estimate.n_always_selected else ""}'
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
    table.add_row('disk', f'about {estimate.disk_MB:.1f} MB')
    console.print(table)
    for warning in plan.warnings:
        console.print(warning, style='yellow', markup=False)
    console.print('nothing was started', style='dim')
