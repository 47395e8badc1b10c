"""Extend a campaign: a new campaign with changed settings, which reuses what the earlier one has computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from aiida import orm
from aiida.engine import ProcessBuilder

from aiida_mlip_autopipe.campaigns.restarts.leftovers import WAIT_S, stop_leftovers
from aiida_mlip_autopipe.campaigns.restarts.reuse import Reuse, count_reuse
from aiida_mlip_autopipe.campaigns.submission import Announce, Submitted, submit_campaign
from aiida_mlip_autopipe.config import CampaignConfig, ask_databases, validate_config
from aiida_mlip_autopipe.config.campaign import MAX_NAME_LENGTH
from aiida_mlip_autopipe.config.change import change_config
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.reporting.checksum import content_checksum
from aiida_mlip_autopipe.storage import StorageSettings
from aiida_mlip_autopipe.structures.rows.provenance import EXTENDS, ExtendedCampaign
from aiida_mlip_autopipe.workflows.graph import CAMPAIGN, ROUNDS, last_resumed, list_campaigns


@dataclass(frozen=True)
class Extension:
    """A campaign that extends another one, before it is submitted.

    Attributes
    ----------
    campaign
        The extended campaign: the one that was named, or the last one that resumes it.
    config
        The config of the new campaign.
    reuse
        What the new campaign reuses.
    """

    campaign: orm.WorkChainNode
    config: CampaignConfig
    reuse: Reuse


def plan_extension(campaign: orm.WorkChainNode, overrides: Sequence[str], name: str | None = None) -> Extension:
    """Apply overrides to the config of a campaign, and return what a campaign with the new config would reuse.

    Parameters
    ----------
    campaign
        A campaign that has ended.
    overrides
        Changes, as for a config file. Relative paths are relative to the current directory.
    name
        The name of the new campaign; by default, that of the campaign with the next free number, such as ``cu-2``. The
        default database is named after it.

    Raises
    ------
    ConfigError
        With all faults of the new config.
    AutopipeError
        If it is a labelling or training run or a campaign with rounds, or is still running, an override cannot be
        applied, or nothing changes.
    """
    if campaign.process_type == ROUNDS:
        raise AutopipeError(
            Code.CAMPAIGN_MISSING,
            f'campaign {campaign.pk} has rounds and cannot be extended; change its config file and run it again, '
            'which reuses all finished rounds up to the first difference',
        )
    if campaign.process_type != CAMPAIGN:
        raise AutopipeError(Code.CAMPAIGN_MISSING, f'{campaign.pk} is not a campaign; only campaigns can be extended')
    campaign = last_resumed(campaign)
    if not campaign.is_terminated:
        raise AutopipeError(
            Code.CAMPAIGN_RUNNING,
            f'campaign {campaign.pk} is still running; wait until it ends, or stop it with '
            f"'mlip-autopipe kill {campaign.pk}', before you extend it",
        )
    old = _read_config(campaign)
    given = [*overrides, *([] if name is None else [f'name={name}'])]
    renamed = old.model_copy(update={'name': _free_name(old.name), 'storage': StorageSettings()})
    new = change_config(renamed, given, Path.cwd())
    if new.storage.database is None and old.storage.database is not None:
        beside = old.storage.database.with_name(f'{new.name}.db')
        new = new.model_copy(update={'storage': StorageSettings(database=beside)})
    if _compared(old) == _compared(new):
        raise AutopipeError(
            Code.EXTENSION_EMPTY,
            f'the overrides change nothing in campaign {campaign.pk}; change a setting, such as exploration.n_steps, '
            f"or continue the campaign with 'mlip-autopipe resume {campaign.pk}'; 'mlip-autopipe run' runs a config "
            'file again',
        )
    return Extension(campaign, new, count_reuse(campaign, old, ask_databases(new)))


def submit_extension(
    extension: Extension,
    notify: Callable[[str], None],
    announce: Announce = lambda submitted: None,
    wait_s: float = WAIT_S,
) -> Submitted:
    """Check a campaign that extends another one, and submit it.

    If the extended campaign ended early, everything that is still running for it is stopped, and checkpoints of its
    killed jobs are recovered, as if it were resumed.

    Parameters
    ----------
    extension
        The campaign.
    notify, announce
        As for `submit_campaign`.
    wait_s
        Time in seconds after which processes of the extended campaign are killed.

    Raises
    ------
    AutopipeError
        If a process of the extended campaign cannot be stopped, or for any of the reasons given in `submit_campaign`.
    """

    def prepare(builder: ProcessBuilder) -> None:
        mark_extension(builder, extension.campaign)
        if not extension.campaign.is_finished_ok:
            stop_leftovers(extension.campaign, wait_s, notify)

    return submit_campaign(extension.config, notify, announce, prepare)


def mark_extension(builder: ProcessBuilder, campaign: orm.WorkChainNode) -> None:
    """Name the campaign that a new campaign extends, in its inputs and in the rows of its dataset."""
    extended = ExtendedCampaign(name=campaign.label, uuid=campaign.uuid)
    if 'dataset' in campaign.outputs:
        dataset: DatasetData = campaign.outputs.dataset
        found = {'dataset_uuid': dataset.uuid, 'dataset_checksum': content_checksum(dataset.rows())}
        extended = extended.model_copy(update=found)
    builder.campaign = orm.Dict({**builder.campaign.get_dict(), EXTENDS: extended.model_dump()})
    setattr(builder, EXTENDS, campaign.uuid)
    builder.metadata.description = f'extends campaign {campaign.uuid}'


def _read_config(campaign: orm.WorkChainNode) -> CampaignConfig:
    """Return the config of a campaign. An extension always reuses finished calculations, so this setting is reset."""
    config = validate_config(campaign.inputs.config.get_dict(), Path.cwd())
    return config.model_copy(update={'execution': config.execution.model_copy(update={'reuse_finished': True})})


def _compared(config: CampaignConfig) -> dict[str, Any]:
    """Return what determines the result of a campaign, and how it runs, without its name and the path of its file."""
    return config.model_dump(mode='json', exclude={'name', 'storage'})


def _free_name(name: str) -> str:
    """Return the name with the lowest number from 2 that no campaign of the profile has."""
    taken = {campaign.label for campaign in list_campaigns()}
    stem, _, number = name.rpartition('-')
    if not (stem and number.isdigit()):
        stem = name
    candidates = (f'{stem[: MAX_NAME_LENGTH - len(str(n)) - 1]}-{n}' for n in count(2))
    return next(candidate for candidate in candidates if candidate not in taken)
