"""Processes of a campaign that no worker will run, because their tasks are lost."""

from __future__ import annotations

import time

from aiida import orm
from aiida.manage import get_manager

from aiida_mlip_autopipe.aiida_internals import run_stored_process, tasks_of_broker
from aiida_mlip_autopipe.installation.profile import ensure_daemon
from aiida_mlip_autopipe.workflows.paused import ENDED

# Longer than AiiDA needs to create the task of a process after storing the process.
SUBMISSION_S = 5.0


def requeue_lost_processes(campaign: orm.WorkChainNode, *, daemon_started: bool) -> tuple[int, ...]:
    """Put the processes of a campaign that have not ended and have no task back in the queue.

    A task is lost if the broker is killed while a process is submitted, or if a worker cannot write to the database,
    for example because the disk is full. AiiDA's workers cannot write after such an error even when there is space
    again, so the daemon is restarted.

    Parameters
    ----------
    campaign
        A campaign.
    daemon_started
        Whether the daemon was started a moment ago, so that it need not be restarted.

    Returns
    -------
    tuple
        The pks of the processes; empty with RabbitMQ, whose tasks cannot be listed.

    Raises
    ------
    AutopipeError
        If the daemon does not start.
    """
    lost = _find_lost(campaign)
    if lost:
        # A process is stored shortly before its task, so one that is being submitted now seems lost.
        time.sleep(SUBMISSION_S)
        lost &= _find_lost(campaign)
    if lost and not daemon_started:
        ensure_daemon(restart=True)
        lost &= _find_lost(campaign)
    for pk in sorted(lost):
        run_stored_process(get_manager().get_runner(), pk)
    return tuple(sorted(lost))


def _find_lost(campaign: orm.WorkChainNode) -> set[int]:
    profile = get_manager().get_profile()
    assert profile is not None  # the campaign was loaded from it
    before = tasks_of_broker(profile)
    if before is None:
        return set()
    active = orm.QueryBuilder().append(
        [orm.WorkChainNode, orm.CalcJobNode], filters={'attributes.process_state': {'!in': list(ENDED)}}, project='id'
    )
    # A process submitted just before the query is missing from the first list of tasks, and one that ended just after
    # the query is missing from the second.
    lost = set(active.all(flat=True)) - before - (tasks_of_broker(profile) or set())
    if not lost:
        return set()
    return lost & {campaign.pk, *(node.pk for node in campaign.called_descendants)}
