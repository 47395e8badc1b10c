"""Labels that killed jobs left in their folders, which a labelling run recovers before it plans its jobs."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from aiida import orm
from aiida.common import LinkType

from aiida_mlip_autopipe.aiida_internals import WorkChainSpec
from aiida_mlip_autopipe.calculations.remote.recover import RecoverLabelsCalculation
from aiida_mlip_autopipe.data.labels import LabelsData
from aiida_mlip_autopipe.workflows.graph import (
    LABELLING_JOB,
    RESUMES,
    define_resumes,
    find_work_chains,
    resumed_campaigns,
)
from aiida_mlip_autopipe.workflows.legs.killed import ABORTED, folder_inputs
from aiida_mlip_autopipe.workflows.throttle import ThrottledWorkChain


class RecoveredLabels(ThrottledWorkChain):
    """A work chain that begins with `queue_recoveries`, followed by ``while_(cls.has_unfinished)(cls.fill_slots)``.

    Labels that are recovered are in the profile, where a subclass finds them like those of finished jobs. A subclass
    implements `submit_job` and `job_runs_again` instead of `submit_one` and `runs_again`.
    """

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:
        """Define the input for the campaign that is being resumed."""
        super().define(spec)
        define_resumes(spec)

    def queue_recoveries(self) -> None:
        """Queue a recovery for each killed job of the campaigns that are being resumed."""
        self.start_empty()
        self.ctx.recoveries = {}
        resumes = self.inputs.get(RESUMES)
        if resumes is None or not self.inputs.reuse_finished:
            return
        for number, job in enumerate(find_killed_labelling_jobs(resumes), start=1):
            label = f'recover_{number:02d}'
            self.ctx.recoveries[label] = job.pk
            self.ctx.waiting.append(label)

    @abstractmethod
    def submit_job(self, label: str) -> orm.ProcessNode:
        """Submit the child for a label that is not a recovery; see `submit_one`."""

    @abstractmethod
    def job_runs_again(self, label: str, node: orm.ProcessNode) -> bool:
        """Return whether to submit a child that is not a recovery again; see `runs_again`."""

    def submit_one(self, label: str) -> orm.ProcessNode:
        """Submit the recovery or the job for a label."""
        return self._submit_recovery(label) if label in self.ctx.recoveries else self.submit_job(label)

    def runs_again(self, label: str, node: orm.ProcessNode) -> bool:
        """Return whether to submit a child again. A recovery never is: its structures are computed instead."""
        if label not in self.ctx.recoveries:
            return self.job_runs_again(label, node)
        if 'labels' not in node.outputs:
            reason = node.exit_message or node.process_state.value
            self.report(f'no labels recovered from job {self.ctx.recoveries[label]}: {reason}')
        return False

    def _submit_recovery(self, label: str) -> orm.ProcessNode:
        job = orm.load_node(self.ctx.recoveries[label])
        self.report(f'recovering the labels of job {job.pk}, which was {job.process_state.value}')
        inputs: dict[str, Any] = job.base.links.get_incoming(link_type=LinkType.INPUT_CALC).nested()
        return self.submit(RecoverLabelsCalculation, folder_inputs(inputs, job, label))


def find_killed_labelling_jobs(resumes: str) -> list[orm.CalcJobNode]:
    """Return the killed labelling jobs of campaigns whose labels have not been recovered, oldest first.

    Parameters
    ----------
    resumes
        The uuid of the campaign that is being resumed. The campaigns that it resumes are considered, too.
    """
    chains = [pk for campaign in resumed_campaigns(resumes) for pk in find_work_chains(campaign)]
    killed = {'process_type': LABELLING_JOB, 'attributes.process_state': {'in': list(ABORTED)}}
    query = orm.QueryBuilder().append(orm.WorkChainNode, filters={'id': {'in': chains}}, tag='chain')
    query.append(orm.CalcJobNode, with_incoming='chain', filters=killed, project='*', tag='job')
    query.append(orm.RemoteData, with_incoming='job', project='id')
    return [job for job, folder in query.order_by({'job': ['id']}).all() if not _was_recovered(folder)]


def _was_recovered(folder: int) -> bool:
    query = orm.QueryBuilder().append(orm.RemoteData, filters={'id': folder}, tag='folder')
    query.append(RecoverLabelsCalculation, with_incoming='folder', tag='recovery')
    return query.append(LabelsData, with_incoming='recovery').count() > 0
