"""The report of a campaign: its dataset compared with all explored frames, and a summary of the campaign."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiida import orm
from ase import Atoms

from aiida_mlip_autopipe.campaigns.account import CampaignAccount, describe_campaign, read_account
from aiida_mlip_autopipe.campaigns.export import read_rows
from aiida_mlip_autopipe.campaigns.rounds.report import read_rounds_report
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.data.descriptors import descriptors_from_nodes
from aiida_mlip_autopipe.data.selection import selection_from_node
from aiida_mlip_autopipe.data.trajectory import input_trajectories
from aiida_mlip_autopipe.descriptors.soap.settings import SoapSettings
from aiida_mlip_autopipe.reporting.card import DatasetInfo, read_dataset_info
from aiida_mlip_autopipe.reporting.label_errors import describe_errors, measure_cost, pair_labels
from aiida_mlip_autopipe.reporting.report_card import estimate_dft_cost, refuse_report_file, write_report_card
from aiida_mlip_autopipe.sampling.assessment import assess_selection
from aiida_mlip_autopipe.storage import Row
from aiida_mlip_autopipe.structures.rows.level import LevelOfTheory, describe_difference
from aiida_mlip_autopipe.structures.trajectory import Trajectory
from aiida_mlip_autopipe.workflows.graph import (
    CAMPAIGN,
    ROUNDS,
    find_output,
    input_of,
    output_of,
)


@dataclass(frozen=True)
class CampaignReport:
    """The quality of a campaign's selection, and its cost.

    Attributes
    ----------
    name
        The name of the campaign.
    dataset
        The content of its dataset.
    dft_cost
        The quantities that determine the cost of labelling the dataset by DFT, from `estimate_dft_cost`.
    label_errors
        The errors of the MLIP against reference labels, from `describe_errors`; None if no row has both labels.
    label_cost
        The cost of the labels, from `measure_cost`; None if no row records it.
    assessment
        The selection compared with its candidates and with random selections, from `assess_selection`.
    account
        A summary of the campaign: rejections, how the explorations ended, and cost.
    warnings
        Warnings about the selection.
    """

    name: str
    dataset: DatasetInfo
    dft_cost: dict[str, float]
    label_errors: dict[str, Any] | None
    label_cost: dict[str, float] | None
    assessment: dict[str, Any]
    account: CampaignAccount
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class RoundsReport:
    """The rounds of a campaign, and its dataset.

    Attributes
    ----------
    name
        The name of the campaign.
    dataset, dft_cost, label_errors, label_cost
        As in `CampaignReport`.
    rounds
        The rounds, from `read_rounds_report`.
    """

    name: str
    dataset: DatasetInfo
    dft_cost: dict[str, float]
    label_errors: dict[str, Any] | None
    label_cost: dict[str, float] | None
    rounds: dict[str, Any]


def read_campaign_report(campaign: orm.WorkChainNode) -> CampaignReport | RoundsReport:
    """Return the report of a finished campaign as data. Each round of a campaign has a separate `CampaignReport`.

    Raises
    ------
    AutopipeError
        If the campaign has no dataset yet, or it is a labelling run.
    """
    if campaign.process_type == ROUNDS:
        return RoundsReport(
            name=campaign.label, **_describe_rows(read_rows(campaign)), rounds=read_rounds_report(campaign)
        )
    sources = _Sources(campaign)
    return CampaignReport(
        name=campaign.label,
        **_describe_rows(sources.rows),
        assessment=sources.assess(),
        account=read_account(campaign),
        warnings=tuple(sources.warnings()),
    )


def _describe_rows(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the parts of a report that are about the rows of the dataset."""
    labels = pair_labels(rows)
    return {
        'dataset': read_dataset_info(rows),
        'dft_cost': estimate_dft_cost(rows),
        'label_errors': None if labels is None else describe_errors(labels),
        'label_cost': measure_cost(rows),
    }


def write_campaign_report(campaign: orm.WorkChainNode, path: Path, *, force: bool = False) -> int:
    """Write the report card of a finished campaign, and its numbers to a JSON file beside it.

    Parameters
    ----------
    campaign
        A campaign that has finished.
    path
        The file; its suffix must be ``.html``.
    force
        Whether to overwrite existing files.

    Returns
    -------
    int
        The number of rows.

    Raises
    ------
    AutopipeError
        If the suffix is wrong, a file exists, the campaign has no dataset yet, or it is a labelling run.
    """
    # Checked first, because the assessment of many frames takes minutes.
    refuse_report_file(path, force)
    if campaign.process_type == ROUNDS:
        rows = read_rows(campaign)
        rounds = read_rounds_report(campaign)
        write_report_card(path, rows, rounds=rounds, title=campaign.label, overwrite=force)
        return len(rows)
    sources = _Sources(campaign)
    assessment = sources.assess()
    write_report_card(
        path,
        sources.rows,
        assessment=assessment,
        structures={layer: sources.frames(points) for layer, points in assessment['map'].items()},
        campaign=describe_campaign(campaign),
        title=campaign.label,
        warnings=sources.warnings(),
        overwrite=force,
    )
    return len(sources.rows)


class _Sources:
    """The data of a report: the rows of the dataset, and the trajectories from which they were selected."""

    def __init__(self, campaign: orm.WorkChainNode):
        if campaign.process_type != CAMPAIGN:
            raise AutopipeError(
                Code.CAMPAIGN_MISSING,
                f"{campaign.pk} is not a campaign and has no selection to report; 'mlip-autopipe dataset info' "
                "describes a labelled dataset, and 'mlip-autopipe train status' a training run",
            )
        self.campaign = campaign
        self.rows: Sequence[Row] = read_rows(campaign)
        self.selection = output_of(campaign, 'selection')
        self.selection_report: dict[str, Any] = find_output(campaign, 'selection_report') or {}
        self.trajectories: Sequence[Trajectory] = input_trajectories(self.selection.creator)

    def assess(self) -> dict[str, Any]:
        """Compare the selection with its candidates and with random selections."""
        ids = [one.trajectory_id for one in self.trajectories]
        return assess_selection(
            self.trajectories,
            selection_from_node(self.selection, self.selection_report, ids),
            _descriptor(input_of(self.campaign, 'sampling').get_dict()),
            described=descriptors_from_nodes(self._descriptors(), ids),
            random_seed=input_of(self.campaign, 'random_seed').value,
        )

    def frames(self, points: Mapping[str, Any]) -> list[Atoms]:
        """Return the structures that the points of one layer of the map represent, without results."""
        places = zip(points['trajectory'], points['frame'], strict=True)
        return [self._structure(self.trajectories[trajectory], frame) for trajectory, frame in places]

    @staticmethod
    def _structure(trajectory: Trajectory, frame: int) -> Atoms:
        positions, cell = trajectory.positions[frame], trajectory.cells[frame]
        return Atoms(numbers=trajectory.numbers, positions=positions, cell=cell, pbc=trajectory.pbc)

    def warnings(self) -> list[str]:
        """Return the warnings about the selection."""
        return selection_warnings(self.selection_report, self.rows)

    def _descriptors(self) -> list[orm.ArrayData]:
        """Return the descriptors that jobs computed for the selection."""
        links = self.selection.creator.base.links
        found: list[orm.ArrayData] = links.get_incoming(link_label_filter=r'descriptors\_\_%').all_nodes()
        return found


def selection_warnings(report: Mapping[str, Any], rows: Sequence[Row]) -> list[str]:
    """Return the warnings of the selection, and one if the labels of the reference dataset have a different level."""
    own = {row.level_hash: row for row in rows if row.level_hash}
    # The report of an earlier version contains only the names.
    names = {str(row.key_value_pairs['label_source']) for row in rows}
    others = [name for name in report.get('reference_label_sources', ()) if name not in names]
    levels = report.get('reference_levels', {})
    for key in sorted(set(levels) - set(own)):
        found = levels[key] and LevelOfTheory.model_validate(levels[key])
        others += [describe_difference(found, row.level) if found else key for row in list(own.values())[:1]]
    if not others:
        return list(report['warnings'])
    return [
        *report['warnings'],
        f'the labels of the reference dataset have a different level of theory ({"; ".join(others)}) from those of '
        f'this dataset, {", ".join(sorted(names))}: do not merge the two or train a model on both',
    ]


def _descriptor(sampling: Mapping[str, Any]) -> SoapSettings | None:
    """Return the settings of the sampler's descriptor if it is SOAP, which the report can compute."""
    settings = sampling.get('descriptor')
    return SoapSettings(**settings) if settings and settings.get('kind', 'soap') == 'soap' else None
