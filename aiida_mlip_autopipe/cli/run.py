"""``mlip-autopipe run``: a campaign from its config to its database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from aiida_mlip_autopipe.config import CampaignConfig


def run(
    file: Annotated[Path, typer.Argument(help='The config file.', show_default=False)],
    overrides: Annotated[
        list[str] | None, typer.Argument(help='Values to change, as sampling.n_structures=500.', show_default=False)
    ] = None,
    detach: Annotated[bool, typer.Option('--detach', '-d', help='Submit and return at once.')] = False,
    dry_run: Annotated[bool, typer.Option('--dry-run', help='Say what would run, and start nothing.')] = False,
    force: Annotated[bool, typer.Option('--force', help='Overwrite an existing database.')] = False,
    profile: Annotated[str | None, typer.Option('--profile', '-p', help='AiiDA profile.')] = None,
) -> None:
    """Run a campaign: submit it, show how far it is, and write its database.

    Ctrl-C leaves the campaign running.
    """
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.config import load_config
    from aiida_mlip_autopipe.core.whole_file import refuse_existing

    config = load_config(file, overrides or ())
    if dry_run:
        _show_estimate(config, profile)
        return
    database = config.storage.database or Path(f'{config.name}.db')
    if not detach:
        refuse_existing(database, force)

    from aiida.engine import submit

    from aiida_mlip_autopipe.campaigns.export import write_dataset
    from aiida_mlip_autopipe.cli.follow import follow_campaign
    from aiida_mlip_autopipe.installation.profile import ensure_daemon, open_profile
    from aiida_mlip_autopipe.workflows.dataset import DatasetWorkChain

    open_profile(profile)
    # First: placing a model on another machine needs the broker, which the daemon starts.
    if ensure_daemon():
        console.print('daemon started', style='dim')
    builder = DatasetWorkChain.get_builder_from_config(config, tell=console.print)
    campaign = submit(builder)
    console.print(f'campaign [bold]{config.name}[/] submitted, id {campaign.pk}')
    if detach:
        console.print(
            f"'mlip-autopipe status {campaign.pk}' tells how far it is, "
            f"'mlip-autopipe export {campaign.pk} -o {database}' writes its database"
        )
        return
    follow_campaign(campaign)
    n_rows = write_dataset(campaign, database, force=force)
    console.print(f'[green]✓[/] {n_rows} structures in [bold]{database}[/]')


def _show_estimate(config: CampaignConfig, profile: str | None) -> None:
    from datetime import timedelta

    from rich.table import Table

    from aiida_mlip_autopipe.campaigns.estimate import estimate_campaign
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.config import ask_databases
    from aiida_mlip_autopipe.installation.profile import open_profile
    from aiida_mlip_autopipe.workflows.inputs.codes import committee_code, job_codes, max_concurrent_jobs

    open_profile(profile)
    codes = job_codes(config)
    committee_code(config)
    in_flight = max_concurrent_jobs(config.execution, codes)
    estimate = estimate_campaign(ask_databases(config), in_flight)
    table = Table(show_header=False, box=None)
    table.add_row('campaign', config.name)
    table.add_row('code', f'{", ".join(one.code.full_label for one in codes)}, {in_flight} jobs at a time')
    table.add_row('seeds', f'{estimate.n_seeds}, {estimate.mean_atoms:.0f} atoms on average')
    table.add_row('jobs', str(estimate.n_jobs))
    table.add_row('force calls', f'{estimate.force_calls:,}')
    bound = '' if config.sampling.coverage_target is None else 'at most '
    table.add_row('frames', f'{estimate.n_frames:,}, of which {bound}{config.sampling.n_structures} are selected')
    table.add_row(
        'time',
        'not known for this calculator'
        if estimate.wall_s is None
        else f'about {timedelta(seconds=round(estimate.wall_s))} on CPU cores like those it was measured on',
    )
    table.add_row('disk', f'about {estimate.disk_MB:.1f} MB')
    console.print(table)
    console.print('nothing was started', style='dim')
