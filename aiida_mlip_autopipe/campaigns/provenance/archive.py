"""Write a campaign to an AiiDA archive, and read such archives into the profile."""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile

from aiida import orm
from aiida.common.exceptions import AiidaException
from aiida.tools.archive import create_archive
from aiida.tools.archive import import_archive as import_into_profile
from aiida.tools.archive.abstract import get_format
from aiida.tools.archive.create import EXPORT_LOGGER
from aiida.tools.archive.exceptions import ExportValidationError
from aiida.tools.archive.imports import IMPORT_LOGGER
from sqlalchemy.exc import SQLAlchemyError

from aiida_mlip_autopipe.campaigns.provenance.opened import CONTENTS, SUFFIX, check_archive, is_archive
from aiida_mlip_autopipe.campaigns.provenance.origin import campaign_of, export_above
from aiida_mlip_autopipe.campaigns.report import write_campaign_report
from aiida_mlip_autopipe.core.atomic_write import atomic_write, refuse_existing
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError, first_line
from aiida_mlip_autopipe.core.hashing import stream_sha256
from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.workflows.graph import CAMPAIGN, ROUNDS, list_campaigns

REPORT = 'report.html'
"""The report card in an archive; its numbers are in a JSON file next to it."""
_OBJECTS = 'repo/'
# AiiDA could run such a process, and its checkpoint can contain any Python object.
_UNFINISHED = {
    'or': [
        {'attributes': {'!has_key': orm.ProcessNode.SEALED_KEY}},
        {'attributes': {'has_key': orm.ProcessNode.CHECKPOINT_KEY}},
    ]
}


@dataclass(frozen=True)
class ImportedCampaign:
    """A campaign or labelling run of an archive, with its id in the profile.

    Attributes
    ----------
    name, pk, uuid
        Its name and node.
    is_new
        Whether the profile did not contain it before.
    """

    name: str
    pk: int
    uuid: str
    is_new: bool


@dataclass(frozen=True)
class ImportedArchive:
    """What an archive added to the profile.

    Attributes
    ----------
    campaigns
        The campaigns and labelling runs in the archive.
    n_nodes, n_new
        Number of nodes in the archive, and how many of them the profile did not contain before.
    """

    campaigns: tuple[ImportedCampaign, ...]
    n_nodes: int
    n_new: int


def refuse_archive(path: Path, force: bool) -> None:
    """Refuse the name of an archive that cannot be written.

    Raises
    ------
    AutopipeError
        If the suffix is not ``.aiida``, or the file exists and ``force`` is false, or it cannot be written.
    """
    if not is_archive(path.name):
        raise AutopipeError(Code.FILE_SUFFIX, f'{path}: the suffix of an archive must be {SUFFIX}')
    refuse_existing(path, force)


def write_archive(campaign: orm.WorkChainNode, path: Path, *, force: bool = False) -> int:
    """Write a campaign that has ended to an archive, with its dataset and everything that made it.

    The archive also contains the report card, if the campaign has a dataset, and the jobs of other campaigns whose
    results it took from the cache.

    Parameters
    ----------
    campaign
        The campaign or labelling run.
    path
        The file; its suffix must be ``.aiida``.
    force
        Whether to overwrite an existing file.

    Returns
    -------
    int
        The number of nodes.

    Raises
    ------
    AutopipeError
        If the campaign is still running, the suffix is wrong, or the file exists and ``force`` is false, or it cannot
        be written.
    """
    refuse_archive(path, force)
    if not campaign.is_sealed:
        raise AutopipeError(
            Code.CAMPAIGN_RUNNING,
            f'campaign {campaign.pk} is still running; wait until it ends, or stop it with '
            f"'mlip-autopipe kill {campaign.pk}'",
        )
    dataset = campaign.outputs.dataset if 'dataset' in campaign.outputs else None
    with atomic_write(path, overwrite=force) as part, TemporaryDirectory() as folder:
        try:
            with _quiet(EXPORT_LOGGER):
                create_archive(
                    [campaign, *_sources(campaign, dataset)],
                    part,
                    call_calc_backward=False,
                    call_work_backward=False,
                    strip_checkpoints=True,  # a process that was killed may have one, and `import_archive` refuses it
                )
        except ExportValidationError as error:
            raise AutopipeError(
                Code.CAMPAIGN_RUNNING, f'processes that campaign {campaign.pk} depends on are still running: {error}'
            ) from error
        card = Path(folder, REPORT)
        if dataset is not None and campaign.process_type in (CAMPAIGN, ROUNDS):
            write_campaign_report(campaign, card)
        with ZipFile(part, 'a', ZIP_DEFLATED) as archive:
            archive.writestr(CONTENTS, json.dumps({'campaign': campaign.uuid}))
            for file in sorted(Path(folder).iterdir()):
                archive.write(file, file.name)
        return _count_nodes(part)


def import_archive(path: Path) -> ImportedArchive:
    """Add the nodes of an archive to the loaded profile. Nodes that it already contains are not changed.

    Raises
    ------
    AutopipeError
        If the file does not exist, is not an archive or is damaged, has a different format version, or contains a path
        outside of the archive or a process that has not ended. In that case, nothing is imported.
    """
    check_archive(path)
    _check_objects(path)
    known = {node.uuid for node in list_campaigns()}
    before = orm.QueryBuilder().append(orm.Node).count()
    try:
        with get_format().open(path, 'r') as reader:
            n_nodes = reader.querybuilder().append(orm.Node).count()
            chains = reader.querybuilder().append(orm.WorkChainNode, project='uuid').all(flat=True)
            running = (
                reader.querybuilder().append(orm.ProcessNode, filters=_UNFINISHED, project='uuid').first(flat=True)
            )
        if running is not None:
            raise AutopipeError(Code.ARCHIVE_UNSAFE, f'{path} contains process {running}, which has not ended')
        with _quiet(IMPORT_LOGGER):
            import_into_profile(path, create_group=False)
    except (AiidaException, SQLAlchemyError) as error:
        raise AutopipeError(Code.ARCHIVE_UNREADABLE, f'{path} cannot be imported: {first_line(error)}') from error
    campaigns = tuple(
        ImportedCampaign(node.label, node.pk, node.uuid, node.uuid not in known)
        for node in list_campaigns()
        if node.uuid in chains
    )
    return ImportedArchive(campaigns, n_nodes, orm.QueryBuilder().append(orm.Node).count() - before)


def _sources(campaign: orm.WorkChainNode, dataset: DatasetData | None) -> list[orm.ProcessNode]:
    """Return the processes of other campaigns that made what this one used, except those that its nodes lead to."""
    if dataset is None:
        return []
    uuids = {row.provenance.exploration for row in dataset.rows() if 'provenance' in row.data}
    query = orm.QueryBuilder().append(orm.CalcJobNode, filters={'uuid': {'in': sorted(uuids)}})
    jobs: list[orm.ProcessNode] = query.all(flat=True) if uuids else []
    made = export_above(dataset)
    explored = None if made is None else campaign_of(made)
    others = [explored] if explored is not None and explored.pk != campaign.pk and explored.is_sealed else []
    return [*others, *jobs]


def _count_nodes(path: Path) -> int:
    with get_format().open(path, 'r') as reader:
        n_nodes: int = reader.querybuilder().append(orm.Node).count()
    return n_nodes


def _check_objects(path: Path) -> None:
    """Check the content of each file in the archive; the name of a file of a node is its sha256."""
    try:
        with ZipFile(path) as archive:
            for name in archive.namelist():
                with archive.open(name) as file:
                    digest = stream_sha256(file)
                if name.startswith(_OBJECTS) and name != _OBJECTS and name.removeprefix(_OBJECTS) != digest:
                    raise AutopipeError(Code.ARCHIVE_UNREADABLE, f'{path} is damaged: {name} has the sha256 {digest}')
    except (BadZipFile, zlib.error, EOFError) as error:
        raise AutopipeError(Code.ARCHIVE_UNREADABLE, f'{path} is damaged: {error}') from error


@contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    """Within the block, AiiDA prints only warnings about archives."""
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
