"""Find in AiiDA's graph what made a row of a dataset."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from aiida import orm
from aiida.common.exceptions import MultipleObjectsError, NotExistent

from aiida_mlip_autopipe.campaigns.export import dataset_of
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.wording import counted
from aiida_mlip_autopipe.data.dataset import DatasetData, find_dataset
from aiida_mlip_autopipe.data.original_job import original_job
from aiida_mlip_autopipe.data.seed import SeedData
from aiida_mlip_autopipe.storage import Row
from aiida_mlip_autopipe.storage.dataset import Dataset, read_row, read_rows
from aiida_mlip_autopipe.storage.imports.rows import IMPORTED
from aiida_mlip_autopipe.structures.rows.labels import LABELLING
from aiida_mlip_autopipe.structures.rows.provenance import Provenance
from aiida_mlip_autopipe.workflows.graph import CAMPAIGN, input_of, load_campaign, previous_job

if TYPE_CHECKING:
    from aiida_mlip_autopipe.data.labels import LabelsData

EXPORT = 'export_dataset'
READING = 'read_dft_labels'


@dataclass(frozen=True)
class OpenedDataset:
    """A dataset whose rows can be read.

    Attributes
    ----------
    name
        The file, or the identifier of the campaign or node.
    path
        The file; None if the dataset is read from the profile.
    node
        The node with this content; None if the profile has none.
    campaign
        The campaign or labelling run by which the user identified the dataset, if any.
    """

    name: str
    path: Path | None
    node: DatasetData | None
    campaign: orm.WorkChainNode | None

    def row(self, row_id: int) -> Row:
        """Return one row.

        Raises
        ------
        AutopipeError
            If the row does not exist, or the file is not a dataset.
        """
        with self._open() as path:
            try:
                return read_row(path, row_id)
            except AutopipeError as error:
                if error.code is not Code.ROW_MISSING:
                    raise
                # In an archive, the campaign is identified by its uuid, which the user has not typed.
                name = self.name if self.campaign is None else f'the dataset of campaign {self.campaign.label}'
                with Dataset(path) as dataset:
                    message = f'{name} has no row {row_id}; it has {counted(len(dataset), "row")}'
                raise AutopipeError(error.code, message) from error

    def rows(self) -> list[Row]:
        """Return all rows.

        Raises
        ------
        AutopipeError
            If the file is not a dataset.
        """
        with self._open() as path:
            return read_rows(path)

    @contextmanager
    def _open(self) -> Iterator[Path]:
        if self.path is not None:
            yield self.path
            return
        assert self.node is not None  # a dataset without a file is a node
        with self.node.as_path() as path:
            yield path


@dataclass(frozen=True)
class Origin:
    """What made a row.

    Attributes
    ----------
    row
        The row.
    dataset
        A dataset with the row: the one in which it was looked up, otherwise the one for which it was selected.
    campaign
        The campaign that selected the frame; None if it is not in the profile.
    selection, rank
        The selection that contains the frame and the position of the frame in it, from 0; None if it is not in the
        profile.
    trajectory, frame
        The trajectory that contains the frame, and the index of the frame in it.
    jobs
        The jobs of the exploration, from the first leg to that with the frame. A job that was taken from the cache is
        replaced with the original job, if the profile contains it.
    seed
        The seed.
    generation
        The calculation that made the seed; None if the seed was made elsewhere.
    labels
        The node of the labels, if a reference method labelled the row and the profile contains them.
    labelling
        The process that computed the labels with a reference method, or read them from files; None without one.
    """

    row: Row
    dataset: DatasetData | None
    campaign: orm.WorkChainNode | None
    selection: orm.ArrayData | None
    rank: int | None
    trajectory: orm.TrajectoryData
    frame: int
    jobs: tuple[orm.CalcJobNode, ...]
    seed: SeedData
    generation: orm.CalcFunctionNode | None
    labels: LabelsData | None
    labelling: orm.ProcessNode | None


def open_dataset(identifier: str) -> OpenedDataset:
    """Open a dataset for reading.

    Parameters
    ----------
    identifier
        The path of a file, the pk or uuid of a `DatasetData` in the loaded profile, or the pk, uuid or name of a
        campaign or labelling run. A file takes precedence.

    Raises
    ------
    AutopipeError
        If nothing matches, or the campaign has no dataset.
    """
    path = Path(identifier)
    if path.is_file():
        return OpenedDataset(identifier, path, find_dataset(path), None)
    node = _load(identifier)
    if isinstance(node, DatasetData):
        return OpenedDataset(identifier, None, node, None)
    if node is None and path.suffix and not path.exists():
        raise AutopipeError(
            Code.FILE_MISSING, f'the dataset {identifier} does not exist, and no campaign has this name'
        )
    campaign = load_campaign(identifier)
    return OpenedDataset(identifier, None, dataset_of(campaign), campaign)


def find_origin(row: Row, dataset: DatasetData | None = None) -> Origin:
    """Find what made a row in the loaded profile.

    Parameters
    ----------
    row
        A row of the dataset of a campaign, or of a dataset that was labelled, merged or selected from such datasets.
    dataset
        The node of the dataset that contains the row, if there is one.

    Raises
    ------
    AutopipeError
        If the row records no origin, like a row of an imported dataset, or the profile does not contain the job that
        explored it.
    """
    where = 'the row' if row.id is None else f'row {row.id}'
    provenance = _provenance(row, where)
    made = _find_export(provenance, dataset)
    jobs = _jobs_until(_find_job(provenance, made, where))
    trajectory = jobs[-1].outputs.trajectory
    (frames,) = np.nonzero(trajectory.get_stepids() == provenance.step)
    if not len(frames):
        raise AutopipeError(
            Code.ORIGIN_MISSING,
            f'{where}: the trajectory of job {jobs[-1].uuid} has no frame at step {provenance.step}',
        )
    selection = None if made is None else _selection_of(made, provenance)
    campaign = None if made is None else campaign_of(made)
    seed = _find_seed(provenance.seed_id, campaign, jobs)
    labels = _find_labels(row)
    return Origin(
        row=row,
        dataset=dataset or (None if made is None else made.outputs.dataset),
        campaign=campaign,
        selection=selection,
        rank=None if selection is None else provenance.rank,
        trajectory=trajectory,
        frame=int(frames[0]),
        jobs=jobs,
        seed=seed,
        generation=seed.creator,
        labels=labels,
        labelling=_find_reading(dataset) if labels is None else labels.creator,
    )


def _load(identifier: str) -> orm.Node | None:
    try:
        return orm.load_node(identifier)
    except (NotExistent, MultipleObjectsError, ValueError):
        return None


def _provenance(row: Row, where: str) -> Provenance:
    if 'provenance' in row.data:
        return row.provenance
    imported = row.data.get(IMPORTED)
    source = f'it was imported from frame {imported["frame"]} of {imported["file"]}' if imported else 'it names no job'
    raise AutopipeError(Code.ORIGIN_UNKNOWN, f'{where} does not record how it was computed: {source}')


def _find_job(provenance: Provenance, made: orm.CalcFunctionNode | None, where: str) -> orm.CalcJobNode:
    """Return the job that explored a frame.

    If the profile does not contain it, because it belongs to another campaign, return the job with its cached results,
    from which the frame was selected.
    """
    job = _load(provenance.exploration)
    if job is None and made is not None:
        name = _selection_of(made, provenance).base.attributes.get('trajectory_ids')[provenance.rank]
        query = orm.QueryBuilder().append(orm.CalcFunctionNode, filters={'id': made.pk}, tag='export')
        query.append(orm.TrajectoryData, with_outgoing='export', filters={'attributes.trajectory_id': name}, tag='leg')
        job = query.append(orm.CalcJobNode, with_outgoing='leg').first(flat=True)
    if isinstance(job, orm.CalcJobNode) and 'trajectory' in job.outputs:
        return job
    raise AutopipeError(
        Code.ORIGIN_MISSING,
        f'{where} was made by job {provenance.exploration} of the campaign {provenance.campaign!r}, which this '
        "profile does not contain; import the archive of this campaign with 'mlip-autopipe import'",
    )


def _jobs_until(job: orm.CalcJobNode) -> tuple[orm.CalcJobNode, ...]:
    """Return the jobs that a job continues, in order, and the job itself."""
    jobs = [original_job(job)[0]]
    while (earlier := previous_job(jobs[0])) is not None:
        jobs.insert(0, original_job(earlier)[0])
    return tuple(jobs)


def _find_export(provenance: Provenance, dataset: DatasetData | None) -> orm.CalcFunctionNode | None:
    """Return the calculation that wrote a row to a dataset: the oldest one, if several identical campaigns wrote it."""
    made = export_above(dataset)
    if made is not None and _wrote(made, provenance):
        return made
    about = {'attributes.name': provenance.campaign, 'attributes.config_hash': provenance.config_sha256}
    query = orm.QueryBuilder().append(orm.Dict, filters=about, tag='campaign')
    query.append(
        orm.CalcFunctionNode,
        with_incoming='campaign',
        filters={'attributes.process_label': EXPORT, 'attributes.exit_status': 0},
        tag='export',
    )
    found: list[orm.CalcFunctionNode] = query.order_by({'export': ['id']}).all(flat=True)
    return next((one for one in found if _wrote(one, provenance)), None)


def export_above(dataset: DatasetData | None) -> orm.CalcFunctionNode | None:
    """Return the calculation that wrote the selected frames of a dataset, which may have been labelled since."""
    while dataset is not None and (creator := dataset.creator) is not None:
        if creator.process_label == EXPORT:
            return creator
        dataset = input_of(creator, 'dataset')
    return None


def _wrote(export: orm.CalcFunctionNode, provenance: Provenance) -> bool:
    """Return whether a calculation wrote a row with this origin."""
    drawn, selection = input_of(export, 'drawn'), _selection_of(export, provenance)
    if selection is None or provenance.round != (None if drawn is None else drawn.base.attributes.get('round')):
        return False
    campaign = input_of(export, 'campaign').get_dict()
    seed_ids, rank = selection.base.attributes.get('seed_ids'), provenance.rank
    return (
        (campaign['name'], campaign['config_hash']) == (provenance.campaign, provenance.config_sha256)
        and input_of(export, 'random_seed').value == provenance.random_seed
        and rank < len(seed_ids)
        and seed_ids[rank] == provenance.seed_id
        and int(selection.get_array('step')[rank]) == provenance.step
    )


def _selection_of(export: orm.CalcFunctionNode, provenance: Provenance) -> orm.ArrayData:
    """Return the node with the frame of a row: the selection, or the frames that were drawn at random."""
    return input_of(export, 'selection' if provenance.role is None else 'drawn')


def campaign_of(export: orm.CalcFunctionNode) -> orm.WorkChainNode | None:
    """Return the campaign that wrote a dataset; None if the profile does not contain it."""
    caller = export.caller
    return caller if caller is not None and caller.process_type == CAMPAIGN else None


def _find_seed(seed_id: str, campaign: orm.WorkChainNode | None, jobs: tuple[orm.CalcJobNode, ...]) -> SeedData:
    """Return the node of a seed: that of the campaign, whose config explains it, or that of the first job."""
    if campaign is not None:
        query = orm.QueryBuilder().append(orm.WorkChainNode, filters={'id': campaign.pk}, tag='campaign')
        query.append(SeedData, with_incoming='campaign', filters={'attributes.seed_id': seed_id})
        if found := query.first(flat=True):
            return found
    seed: SeedData = jobs[0].inputs.seed
    return seed


def _find_labels(row: Row) -> LabelsData | None:
    uuid = row.data.get(LABELLING, {}).get('labels')
    if uuid is None:
        return None
    from aiida_mlip_autopipe.data.labels import LabelsData

    node = _load(uuid)
    return node if isinstance(node, LabelsData) else None


def _find_reading(dataset: DatasetData | None) -> orm.ProcessNode | None:
    """Return the calculation that read the labels of a dataset from the files of a DFT code."""
    creator = None if dataset is None else dataset.creator
    return creator if creator is not None and creator.process_label == READING else None
