"""Submit a campaign. No other module of the package submits a config to the daemon."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from aiida.engine import submit

from aiida_mlip_autopipe.config import CampaignConfig
from aiida_mlip_autopipe.installation.profile import ensure_daemon
from aiida_mlip_autopipe.workflows.dataset import DatasetWorkChain


@dataclass(frozen=True)
class Submitted:
    """A campaign that was submitted to the daemon.

    Attributes
    ----------
    pk, uuid, name
        Identifiers of the campaign.
    database
        The file for the dataset, from the config.
    """

    pk: int
    uuid: str
    name: str
    database: Path


def submit_campaign(config: CampaignConfig, notify: Callable[[str], None]) -> Submitted:
    """Check a campaign, copy its models to the computers, and submit it. Start the daemon if needed.

    Parameters
    ----------
    config
        The campaign.
    notify
        Called with a message if the daemon was started, if the environment of a code has changed, or if a model
        was copied to a computer.

    Raises
    ------
    AutopipeError
        If the daemon does not start, or for any of the reasons given in
        `DatasetWorkChain.get_builder_from_config`. In that case, nothing is submitted.
    """
    # First, because copying a model to another machine needs the broker, which the daemon starts.
    if ensure_daemon():
        notify('daemon started')
    campaign = submit(DatasetWorkChain.get_builder_from_config(config, notify=notify))
    return Submitted(campaign.pk, campaign.uuid, config.name, config.database)
