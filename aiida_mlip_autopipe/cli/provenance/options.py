"""The arguments and options that the commands for campaigns share."""

from __future__ import annotations

from typing import Annotated

import typer

ID_HELP = 'PK, UUID or name of a campaign, labelling run or training run.'
Identifier = Annotated[str, typer.Argument(metavar='ID', help=ID_HELP, show_default=False)]
CAMPAIGN_HELP = 'PK, UUID or name of a campaign.'
CampaignIdentifier = Annotated[str, typer.Argument(metavar='ID', help=CAMPAIGN_HELP, show_default=False)]
ARCHIVE_HELP = ID_HELP.rstrip('.') + ', or an archive.'
IdentifierOrArchive = Annotated[str, typer.Argument(metavar='ID', help=ARCHIVE_HELP, show_default=False)]
CAMPAIGN_OR_ARCHIVE_HELP = CAMPAIGN_HELP.rstrip('.') + ', or an archive.'
CampaignOrArchive = Annotated[str, typer.Argument(metavar='ID', help=CAMPAIGN_OR_ARCHIVE_HELP, show_default=False)]
ProfileOption = Annotated[str | None, typer.Option('--profile', '-p', help='AiiDA profile.')]
