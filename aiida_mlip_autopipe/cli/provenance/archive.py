"""The commands that write a campaign to an archive and read archives."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aiida_mlip_autopipe.cli.provenance.options import ProfileOption, refuse_file_of_archive


def archive(
    identifier: Annotated[
        str,
        typer.Argument(
            metavar='ID',
            callback=refuse_file_of_archive,
            help='PK, UUID or name of a campaign or of a labelling run that has ended.',
            show_default=False,
        ),
    ],
    output: Annotated[
        Path, typer.Option('--output', '-o', help='Archive to write, with the suffix .aiida.', show_default=False)
    ],
    force: Annotated[bool, typer.Option('--force', help='Overwrite an existing file.')] = False,
    profile: ProfileOption = None,
) -> None:
    """Write a campaign to an AiiDA archive.

    The archive contains the dataset with its complete provenance and, for a campaign with a dataset, the report card.
    """
    from aiida_mlip_autopipe.campaigns.provenance.archive import refuse_archive, write_archive
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.core.wording import counted
    from aiida_mlip_autopipe.installation.profile import open_profile
    from aiida_mlip_autopipe.workflows.graph import load_campaign

    refuse_archive(output, force)
    open_profile(profile)
    n_nodes = write_archive(load_campaign(identifier), output, force=force)
    console.print(f'[green]✓[/] {counted(n_nodes, "node")} in [bold]{output}[/]')


def import_(
    file: Annotated[Path, typer.Argument(help='Archive.', show_default=False)], profile: ProfileOption = None
) -> None:
    """Read an archive into the profile.

    Without a profile, one is created. Nodes that the profile already contains are not changed.
    """
    from aiida_mlip_autopipe.campaigns.provenance.archive import import_archive
    from aiida_mlip_autopipe.campaigns.provenance.opened import check_archive
    from aiida_mlip_autopipe.cli.console import console
    from aiida_mlip_autopipe.core.wording import counted
    from aiida_mlip_autopipe.installation.profile import ensure_profile, open_profile_if_any

    check_archive(file)  # before a profile is created
    if open_profile_if_any(profile) is None:
        created, _ = ensure_profile(profile)
        console.print(f'profile {created.name} created', style='dim', markup=False)
    found = import_archive(file)
    for one in found.campaigns:
        known = '' if one.is_new else ', already in the profile'
        console.print(f'campaign {one.name}, id {one.pk}{known}', markup=False)
    n_known = found.n_nodes - found.n_new
    console.print(f'[green]✓[/] {counted(found.n_new, "node")} imported, {n_known} already in the profile')
