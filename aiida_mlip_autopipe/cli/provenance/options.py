"""The arguments and options that the commands for campaigns share."""

from __future__ import annotations

from typing import Annotated

import typer


def refuse_file_of_archive(identifier: str) -> str:
    """Return the identifier of a campaign unless it is the name of an archive, which the command cannot change.

    Raises
    ------
    AutopipeError
        If it is the name of an archive.
    """
    from aiida_mlip_autopipe.campaigns.provenance.opened import is_archive
    from aiida_mlip_autopipe.core.codes import Code
    from aiida_mlip_autopipe.core.errors import AutopipeError

    if is_archive(identifier):
        message = (
            f'{identifier} is an archive, but a campaign of a profile is required; import the archive with '
            f"'mlip-autopipe import {identifier}', and name its campaign"
        )
        raise AutopipeError(Code.CAMPAIGN_MISSING, message)
    return identifier


ID_HELP = 'PK, UUID or name of a campaign, labelling run or training run.'
Identifier = Annotated[
    str, typer.Argument(metavar='ID', help=ID_HELP, show_default=False, callback=refuse_file_of_archive)
]
CAMPAIGN_HELP = 'PK, UUID or name of a campaign.'
CampaignIdentifier = Annotated[
    str, typer.Argument(metavar='ID', help=CAMPAIGN_HELP, show_default=False, callback=refuse_file_of_archive)
]
ARCHIVE_HELP = ID_HELP.rstrip('.') + ', or an archive.'
IdentifierOrArchive = Annotated[str, typer.Argument(metavar='ID', help=ARCHIVE_HELP, show_default=False)]
CAMPAIGN_OR_ARCHIVE_HELP = CAMPAIGN_HELP.rstrip('.') + ', or an archive.'
CampaignOrArchive = Annotated[str, typer.Argument(metavar='ID', help=CAMPAIGN_OR_ARCHIVE_HELP, show_default=False)]
DATASET_RUN_HELP = 'PK, UUID or name of a campaign or labelling run, or an archive.'
DatasetRunOrArchive = Annotated[str, typer.Argument(metavar='ID', help=DATASET_RUN_HELP, show_default=False)]
ProfileOption = Annotated[str | None, typer.Option('--profile', '-p', help='AiiDA profile.')]
