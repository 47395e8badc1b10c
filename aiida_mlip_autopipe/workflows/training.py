"""The work chain that trains a model, in as many jobs as necessary."""

from __future__ import annotations

from typing import ClassVar

from aiida import orm
from aiida.engine import BaseRestartWorkChain, ProcessHandlerReport, ToContext, process_handler, while_

from aiida_mlip_autopipe.aiida_internals import WorkChainSpec, use_cache
from aiida_mlip_autopipe.calculations.training.train import TrainingCalculation
from aiida_mlip_autopipe.jobs.contract import has_progressed
from aiida_mlip_autopipe.workflows.lost_jobs import MAX_LOST, lost_message
from aiida_mlip_autopipe.workflows.submit_once import SubmitOnceWorkChain

CODES = TrainingCalculation.exit_codes
LOST = [
    CODES.ERROR_CANCELLED,
    CODES.ERROR_KILLED,
    CODES.ERROR_RESULT_MISSING,
    CODES.ERROR_SCHEDULER_NODE_FAILURE,
]
# Exit codes of a job after which another one may follow.
CONTINUED = {code.status for code in (CODES.ERROR_OUT_OF_WALLTIME, *LOST)}


class TrainingWorkChain(SubmitOnceWorkChain, BaseRestartWorkChain):
    """Trains a model; each job continues from the checkpoint of the previous one."""

    _process_class: ClassVar = TrainingCalculation

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:
        """Define inputs, outputs, the outline and exit codes."""
        super().define(spec)
        spec.expose_inputs(TrainingCalculation, namespace='job', exclude=('checkpoint',))
        spec.input('reuse_finished', valid_type=bool, is_metadata=True, default=False, help='Take jobs from the cache.')
        spec.expose_outputs(TrainingCalculation, exclude=('remote_folder', 'retrieved'))
        spec.exit_code(403, 'ERROR_NO_PROGRESS', message='A job used up its wall time without completing an epoch.')
        spec.exit_code(
            406, 'ERROR_JOBS_LOST', message='Several jobs in a row were cancelled, were killed or lost their folder.'
        )
        spec.exit_code(420, 'ERROR_TRAINING_FAILED', message='The training failed: {reason}')
        spec.outline(
            cls.setup,
            while_(cls.should_run_process)(
                cls.run_process,
                cls.inspect_process,
            ),
            cls.results,
        )

    def setup(self) -> None:
        """Prepare the inputs of the first job."""
        super().setup()
        self.ctx.inputs = self.exposed_inputs(TrainingCalculation, 'job')
        self.ctx.n_lost = 0

    def run_process(self) -> ToContext:
        """Submit the next job, or take it from the cache."""
        with use_cache('mlip_autopipe.train', self.inputs.reuse_finished):
            return super().run_process()

    @process_handler(exit_codes=[CODES.ERROR_OUT_OF_WALLTIME])
    def continue_from_checkpoint(self, node: orm.CalcJobNode) -> ProcessHandlerReport:
        """Continue from the checkpoint; end the training if the job completed no epoch."""
        result = node.outputs.result.get_dict()
        if not has_progressed(result) or 'checkpoint' not in node.outputs:
            return ProcessHandlerReport(do_break=True, exit_code=self.exit_codes.ERROR_NO_PROGRESS)
        self.ctx.n_lost = 0
        self.ctx.inputs.checkpoint = node.outputs.checkpoint
        self.report(f'job {node.pk} stopped after epoch {result["last_step"]}; continuing')
        return ProcessHandlerReport(do_break=True)

    @process_handler(exit_codes=LOST)
    def replace_lost_job(self, node: orm.CalcJobNode) -> ProcessHandlerReport:
        """Submit a job again that was cancelled or killed, or whose compute node failed; end after several in a row."""
        self.ctx.n_lost += 1
        if self.ctx.n_lost > MAX_LOST:
            return ProcessHandlerReport(do_break=True, exit_code=self.exit_codes.ERROR_JOBS_LOST)
        self.report(lost_message(node))
        return ProcessHandlerReport(do_break=True)

    @process_handler(priority=-10)
    def stop_after_other_failures(self, node: orm.CalcJobNode) -> ProcessHandlerReport | None:
        """End after a failure that would happen again."""
        if not node.is_failed or node.exit_status in CONTINUED:
            return None
        exit_code = self.exit_codes.ERROR_TRAINING_FAILED.format(reason=node.exit_message)
        return ProcessHandlerReport(do_break=True, exit_code=exit_code)
