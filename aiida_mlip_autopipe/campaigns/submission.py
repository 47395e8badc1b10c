"""Submit a campaign. No other module of the package submits a config to the daemon."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from aiida.engine import ProcessBuilder, submit

from aiida_mlip_autopipe.config import CampaignConfig
from aiida_mlip_autopipe.installation.profile import ensure_daemon
from aiida_mlip_autopipe.workflows.dataset import DatasetWorkChain
from aiida_mlip_autopipe.workflows.rounds.campaign import CampaignWorkChain


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


Announce = Callable[[Submitted], None]


def submit_campaign(
    config: CampaignConfig,
    notify: Callable[[str], None],
    announce: Announce = lambda submitted: None,
    prepare: Callable[[ProcessBuilder], None] = lambda builder: None,
) -> Submitted:
    """Check a campaign, copy its models to the computers, and submit it. Start the daemon if needed.

    Parameters
    ----------
    config
        The campaign.
    notify
        Called with a message if the daemon was started, if the environment of a code has changed, or if a model
        was copied to a computer.
    announce
        Called with the submitted campaign. Ctrl-C takes effect only afterwards, so every campaign is announced.
    prepare
        Called with the inputs before they are submitted, to change them.

    Raises
    ------
    AutopipeError
        If the daemon does not start, or for any of the reasons given in
        `DatasetWorkChain.get_builder_from_config`. In that case, nothing is submitted.
    """
    # First, because copying a model to another machine needs the broker, which the daemon starts.
    if ensure_daemon():
        notify('daemon started')
    process = DatasetWorkChain if config.rounds is None else CampaignWorkChain
    builder = process.get_builder_from_config(config, notify=notify)
    prepare(builder)
    return submit_and_announce(announce, config.name, config.database, builder)


def submit_and_announce(announce: Announce, name: str, database: Path, process: Any, **inputs: Any) -> Submitted:
    """Submit a process and announce it. Ctrl-C takes effect only afterwards."""
    with ctrl_c_delayed():
        node = submit(process, **inputs)
        submitted = Submitted(node.pk, node.uuid, name, database)
        announce(submitted)
    return submitted


@contextmanager
def ctrl_c_delayed() -> Iterator[None]:
    """Delay the effect of Ctrl-C until the end of the block. Only the main thread receives signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[tuple[int, FrameType | None]] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: received.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if received and callable(before):
        before(*received[-1])
