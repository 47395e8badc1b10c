"""Campaigns and their jobs in AiiDA's graph."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from aiida import orm
from aiida.common import LinkType

from aiida_mlip_autopipe.aiida_internals import WorkChainSpec
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.structures.rows.provenance import EXTENDS, ExtendedCampaign

CAMPAIGN = 'aiida.workflows:mlip_autopipe.dataset'
"""The process type of a campaign."""
ROUNDS = 'aiida.workflows:mlip_autopipe.campaign'
"""The process type of a campaign with rounds. Each round calls a work chain of the type `CAMPAIGN`."""
ASSESSMENT = 'aiida.calculations:mlip_autopipe.assess'
"""The process type of a job that assesses a model."""
EXPLORATION = 'aiida.workflows:mlip_autopipe.exploration'
"""The process type of the exploration of a seed."""
EXPLORATION_JOB = 'aiida.calculations:mlip_autopipe.explore'
"""The process type of a job that explores a seed."""
RECOVERY = 'aiida.calculations:mlip_autopipe.explore.recover'
"""The process type of a job that recovers the files of a killed job."""
LEG_TYPES = (EXPLORATION_JOB, RECOVERY)
"""The process types of the jobs that make legs."""
SEED_LINK = 'job__seed'
"""The label of the link from a seed to its exploration."""
LABELLING = 'aiida.workflows:mlip_autopipe.labelling'
"""The process type of a labelling run. It may be part of a campaign, or run without one."""
TRAINING = 'aiida.workflows:mlip_autopipe.training'
"""The process type of a training run. It may be part of a campaign, or run without one."""
RUNS = (CAMPAIGN, ROUNDS, LABELLING, TRAINING)
"""The process types of what a user submits."""
LABELLING_JOB = 'aiida.calculations:mlip_autopipe.label'
"""The process type of a job that labels structures."""
LABELS_RECOVERY = 'aiida.calculations:mlip_autopipe.label.recover'
"""The process type of a job that recovers the labels of a killed job."""
LABELLING_COUNTS = 'mlip_autopipe_labelling'
"""Key of the extra of a labelling run with its number of structures and of known labels."""
STOP_REQUESTED = 'mlip_autopipe_stop_asked'
INPUTS = (LinkType.INPUT_CALC, LinkType.INPUT_WORK)
OUTPUTS = (LinkType.CREATE, LinkType.RETURN)
RESUMES = 'resumes'
"""The metadata input with the uuid of the campaign that a campaign resumes."""


@dataclass(frozen=True)
class Extended:
    """The campaign that a campaign extends.

    Attributes
    ----------
    pk
        The node; None if the profile or the archive does not contain it.
    name, uuid
        Its name and UUID.
    dataset_uuid, dataset_checksum
        The UUID of its dataset, and the checksum of the content of this dataset; None if it had none.
    """

    pk: int | None
    name: str
    uuid: str
    dataset_uuid: str | None
    dataset_checksum: str | None

    def __str__(self) -> str:
        return f'campaign {self.name}, ' + (f'uuid {self.uuid}' if self.pk is None else f'id {self.pk}')


def define_extends(spec: WorkChainSpec) -> None:
    """Define the metadata input with which a campaign names the campaign that it extends."""
    spec.input(
        EXTENDS,
        valid_type=str,
        is_metadata=True,
        required=False,
        help='The uuid of the campaign that is being extended. Legs of its killed jobs are recovered.',
    )


def define_resumes(spec: WorkChainSpec) -> None:
    """Define the metadata input with which a campaign, or a part of it, names the campaign that it resumes."""
    spec.input(
        RESUMES,
        valid_type=str,
        is_metadata=True,
        required=False,
        help='The uuid of the campaign that is being resumed. Legs of its killed jobs are recovered.',
    )


def input_of(process: orm.ProcessNode, name: str) -> Any:
    """Return an input of a process; None if it has none of this name. `process.inputs` would load all of its inputs."""
    links = process.base.links.get_incoming(link_type=INPUTS, link_label_filter=name)
    return next(iter(links.all_nodes()), None)


def output_of(process: orm.ProcessNode, name: str) -> Any:
    """Return an output of a process; None if it has none of this name. `process.outputs` would load all of them."""
    links = process.base.links.get_outgoing(link_type=OUTPUTS, link_label_filter=name)
    return next(iter(links.all_nodes()), None)


def find_output(campaign: orm.WorkChainNode, label: str) -> dict[str, Any] | None:
    """Return the content of an output of a campaign that is a `Dict`; None if it does not exist, or not yet."""
    query = orm.QueryBuilder().append(orm.WorkChainNode, filters={'id': campaign.pk}, tag='campaign')
    returned = {'type': LinkType.RETURN.value, 'label': label}
    query.append(orm.Dict, with_incoming='campaign', edge_filters=returned, project='attributes')
    found: dict[str, Any] | None = query.first(flat=True)
    return found


def load_campaign(identifier: str) -> orm.WorkChainNode:
    """Return a campaign by its pk, its uuid (or the beginning of it) or its name; the newest if several match.

    A labelling or training run that belongs to no campaign counts as one.

    Raises
    ------
    AutopipeError
        If the campaign does not exist.
    """
    query = orm.QueryBuilder().append(
        orm.WorkChainNode, filters={'process_type': {'in': list(RUNS)}, 'label': identifier}, tag='campaign'
    )
    query.order_by({'campaign': {'id': 'desc'}})
    if found := query.first(flat=True):
        return found
    try:
        node = orm.load_node(identifier)
    except Exception as error:  # missing, ambiguous or malformed identifiers are the same to the user
        message = f"no campaign matches {identifier!r}; 'mlip-autopipe status' lists all campaigns"
        raise AutopipeError(Code.CAMPAIGN_MISSING, message) from error
    if node.process_type != CAMPAIGN and not is_run(node):
        message = f"{identifier!r} is not a campaign; 'mlip-autopipe status' lists all campaigns"
        raise AutopipeError(Code.CAMPAIGN_MISSING, message)
    return node


def is_run(node: orm.Node) -> bool:
    """Return whether a node is a campaign, or a labelling or training run that belongs to none.

    The work chain of a round belongs to a campaign.
    """
    return node.process_type in RUNS and node.caller is None


def list_campaigns() -> list[orm.WorkChainNode]:
    """Return all campaigns of the profile, newest first, and the labelling and training runs that belong to none."""
    query = orm.QueryBuilder().append(orm.WorkChainNode, filters={'process_type': {'in': list(RUNS)}}, tag='campaign')
    found: list[orm.WorkChainNode] = query.order_by({'campaign': {'id': 'desc'}}).all(flat=True)
    return [node for node in found if is_run(node)]


def find_rounds(campaign: orm.WorkChainNode) -> list[orm.WorkChainNode]:
    """Return the work chains that explore and label in the rounds of a campaign, in order."""
    query = orm.QueryBuilder().append(orm.WorkChainNode, filters={'id': campaign.pk}, tag='campaign')
    query.append(orm.WorkChainNode, with_incoming='campaign', filters={'process_type': CAMPAIGN}, tag='round')
    found: list[orm.WorkChainNode] = query.order_by({'round': {'id': 'asc'}}).all(flat=True)
    return found


def find_parts(campaign: orm.WorkChainNode) -> list[orm.WorkChainNode]:
    """Return the work chains that call the explorations of a campaign: its rounds, or itself if it has none."""
    return find_rounds(campaign) if campaign.process_type == ROUNDS else [campaign]


def find_round_reports(campaign: orm.WorkChainNode) -> list[dict[str, Any]]:
    """Return the reports of the finished rounds of a campaign, in order."""
    query = orm.QueryBuilder().append(orm.WorkChainNode, filters={'id': campaign.pk}, tag='campaign')
    of_reports = {'type': LinkType.RETURN.value, 'label': {'like': r'rounds\_\_round\_%\_\_report'}}
    query.append(orm.Dict, with_incoming='campaign', edge_filters=of_reports, project='attributes')
    return sorted(query.all(flat=True), key=lambda report: report['round'])


def is_stop_requested(pk: int | None) -> bool:
    """Return whether a user has asked a work chain, or one of its callers, to stop.

    Another process writes this to the database.
    """
    while pk is not None:
        query = orm.QueryBuilder().append(orm.WorkChainNode, filters={'id': pk}, project=f'extras.{STOP_REQUESTED}')
        if query.first(flat=True):
            return True
        callers = orm.QueryBuilder().append(orm.WorkChainNode, filters={'id': pk}, tag='called')
        pk = callers.append(orm.WorkChainNode, with_outgoing='called', project='id').first(flat=True)
    return False


def find_jobs(campaign: orm.WorkChainNode, state: dict[str, Any]) -> list[orm.CalcJobNode]:
    """Return the jobs of a campaign.

    Parameters
    ----------
    campaign
        The campaign.
    state
        An AiiDA filter for the jobs and for their work chains.
    """
    query = orm.QueryBuilder()
    query.append(orm.WorkChainNode, filters={'id': {'in': find_work_chains(campaign, state)}}, tag='chain')
    jobs: list[orm.CalcJobNode] = query.append(orm.CalcJobNode, with_incoming='chain', filters=state).all(flat=True)
    return jobs


def find_work_chains(campaign: orm.WorkChainNode, state: dict[str, Any] | None = None) -> list[int]:
    """Return the pks of a campaign and of all work chains below it.

    Parameters
    ----------
    campaign
        The campaign.
    state
        An AiiDA filter for the work chains below it; by default, all are returned.
    """
    found, level = [campaign.pk], [campaign.pk]
    while level:
        query = orm.QueryBuilder().append(orm.WorkChainNode, filters={'id': {'in': level}}, tag='chain')
        level = query.append(orm.WorkChainNode, with_incoming='chain', filters=state or {}, project='id').all(flat=True)
        found += level
    return found


def previous_job(job: orm.CalcJobNode) -> orm.CalcJobNode | None:
    """Return the job that a job continues; None if it starts from its seed, or its checkpoint was not made by a job.

    A job that recovers the files of a killed job continues that job, whose folder is its input ``parent_folder``.
    """
    inputs = job.inputs
    node = next((inputs[name] for name in ('parent_folder', 'checkpoint') if name in inputs), None)
    creator = None if node is None else node.creator
    return creator if isinstance(creator, orm.CalcJobNode) else None


def why_ended(explorations: Collection[int]) -> dict[int, str]:
    """Return why explorations ended: the message of the last job of each, otherwise that of the exploration.

    Parameters
    ----------
    explorations
        Their pks.
    """
    if not explorations:  # AiiDA refuses a filter with an empty list
        return {}
    reasons = ['attributes.exit_message', 'attributes.process_status', 'attributes.process_state']
    query = orm.QueryBuilder()
    query.append(orm.WorkChainNode, filters={'id': {'in': list(explorations)}}, project=['id', *reasons])
    found = {pk: next((one for one in about if one), '') for pk, *about in query.iterall()}
    jobs = orm.QueryBuilder()
    jobs.append(orm.WorkChainNode, filters={'id': {'in': list(explorations)}}, project='id', tag='exploration')
    jobs.append(
        orm.CalcJobNode,
        with_incoming='exploration',
        filters={'process_type': {'in': list(LEG_TYPES)}},
        project=['id', 'attributes.exit_message'],
    )
    last = {pk: message for pk, _, message in sorted(jobs.all(), key=lambda row: row[:2])}
    return found | {pk: message for pk, message in last.items() if message}


def earlier_campaign(campaign: orm.WorkChainNode) -> orm.WorkChainNode | None:
    """Return the campaign that a campaign resumes; None if it resumes none, or if the node was deleted."""
    return _named_campaign(campaign, RESUMES)


def extended_campaign(campaign: orm.WorkChainNode) -> orm.WorkChainNode | None:
    """Return the campaign that a campaign extends; None if it extends none, or if the profile does not contain it."""
    return _named_campaign(campaign, EXTENDS)


def read_extended(campaign: orm.WorkChainNode) -> Extended | None:
    """Return the campaign that a campaign extends; None if it extends none."""
    if EXTENDS not in (campaign.get_metadata_inputs() or {}):
        return None
    node = extended_campaign(campaign)
    found = ExtendedCampaign(**campaign.inputs.campaign[EXTENDS])
    return Extended(pk=None if node is None else node.pk, **found.model_dump())


def _named_campaign(campaign: orm.WorkChainNode, metadata_input: str) -> orm.WorkChainNode | None:
    uuid = (campaign.get_metadata_inputs() or {}).get(metadata_input)
    if uuid is None:
        return None
    return orm.QueryBuilder().append(orm.WorkChainNode, filters={'uuid': uuid}).first(flat=True)


def later_campaigns(campaign: orm.WorkChainNode) -> list[orm.WorkChainNode]:
    """Return the campaigns that resume a campaign, oldest first."""
    return _campaigns_naming(campaign, RESUMES)


def extending_campaigns(campaign: orm.WorkChainNode) -> list[orm.WorkChainNode]:
    """Return the campaigns that extend a campaign, oldest first."""
    return _campaigns_naming(campaign, EXTENDS)


def _campaigns_naming(campaign: orm.WorkChainNode, metadata_input: str) -> list[orm.WorkChainNode]:
    # The parts of a campaign also name the campaign that it resumes.
    filters = {
        'process_type': {'in': list(RUNS)},
        f'attributes.metadata_inputs.{metadata_input}': campaign.uuid,
    }
    query = orm.QueryBuilder().append(orm.WorkChainNode, filters=filters, tag='later')
    found = query.order_by({'later': {'id': 'asc'}}).all(flat=True)
    return [node for node in found if is_run(node)]


def resumed_campaigns(uuid: str) -> list[orm.WorkChainNode]:
    """Return a campaign and, newest first, the campaigns that it resumes or extends, directly or indirectly.

    Parameters
    ----------
    uuid
        The uuid of the first one.
    """
    found = []
    campaign = orm.QueryBuilder().append(orm.WorkChainNode, filters={'uuid': uuid}).first(flat=True)
    while campaign is not None:
        found.append(campaign)
        campaign = earlier_campaign(campaign) or extended_campaign(campaign)
    return found


def last_resumed(campaign: orm.WorkChainNode) -> orm.WorkChainNode:
    """Return the campaign with which a campaign was last resumed; the campaign itself if it was not."""
    while later := later_campaigns(campaign):
        campaign = later[-1]
    return campaign
