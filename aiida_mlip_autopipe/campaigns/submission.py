"""The submission of a campaign: the one way from a config to a running work chain."""

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
        The campaign.
    database
        The file that the config names for the dataset.
    """

    pk: int
    uuid: str
    name: str
    database: Path


def submit_campaign(config: CampaignConfig, tell: Callable[[str], None]) -> Submitted:
    """Check a campaign, copy its models to its computers, and submit it to the daemon, which is started if needed.

    Parameters
    ----------
    config
        The campaign.
    tell
        Called with a message if the daemon was started, for each code whose environment has changed, and for each model
        that was copied to a computer.

    Raises
    ------
    AutopipeError
        If the daemon cannot be started, or as in `DatasetWorkChain.get_builder_from_config`; then nothing is submitted.
    """
    # First, because copying a model to another machine needs the broker, which the daemon starts.
    if ensure_daemon():
        tell('daemon started')
    campaign = submit(DatasetWorkChain.get_builder_from_config(config, tell=tell))
    return Submitted(campaign.pk, campaign.uuid, config.name, config.database)
