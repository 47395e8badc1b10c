"""What follows an incomplete job: a job that starts from its checkpoint, the same job again, or the end."""

from __future__ import annotations

from typing import ClassVar

from aiida import orm
from aiida.engine import BaseRestartWorkChain, ExitCode, ProcessHandlerReport, process_handler

from aiida_mlip_autopipe.aiida_internals import WorkChainSpec
from aiida_mlip_autopipe.calculations.explore import ExplorationCalculation, read_settings
from aiida_mlip_autopipe.jobs.contract import has_progressed
from aiida_mlip_autopipe.workflows.graph import is_stop_requested
from aiida_mlip_autopipe.workflows.lost_jobs import MAX_LOST, lost_message
from aiida_mlip_autopipe.workflows.submit_once import SubmitOnceWorkChain

CODES = ExplorationCalculation.exit_codes


class RestartedJobs(SubmitOnceWorkChain, BaseRestartWorkChain):
    """Decides after each job whether another one follows, and from where."""

    STEP: ClassVar = 'step'

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:
        """Define inputs and exit codes."""
        super().define(spec)
        spec.input(
            'retry_memory_factor',
            valid_type=float,
            is_metadata=True,
            default=1.0,
            help='Factor by which the memory is multiplied, once, if a job needs more; with 1, the run fails.',
        )
        spec.exit_code(
            403, 'ERROR_NO_PROGRESS', message=f'A job used up its wall time without completing a single {cls.STEP}.'
        )
        spec.exit_code(404, 'ERROR_OUT_OF_MEMORY', message='The job ran out of memory; increase execution.memory_MB.')
        spec.exit_code(405, 'ERROR_STOPPED', message='Stopped by a user; the checkpoint is kept.')
        spec.exit_code(
            406,
            'ERROR_JOBS_LOST',
            message='Several jobs in a row were cancelled, were killed before their first checkpoint, or lost their '
            'folder.',
        )
        spec.exit_code(
            407,
            'ERROR_DEVICE_OUT_OF_MEMORY',
            message='The GPU ran out of memory; use smaller structures, a larger GPU or fewer jobs per GPU.',
        )
        spec.exit_code(408, 'ERROR_FILES_UNREADABLE', message='Several jobs in a row left files that cannot be read.')

    def setup(self) -> None:
        """Initialise the context, without failures."""
        super().setup()
        self.ctx.n_lost = 0
        self.ctx.has_more_memory = False

    def _is_stop_requested(self) -> bool:
        """Return whether a user has stopped this run, or the campaign that it belongs to."""
        return any(is_stop_requested(node.pk) for node in (self.node, self.node.caller) if node is not None)

    @process_handler(priority=1000)
    def stop_when_asked(self, node: orm.CalcJobNode) -> ProcessHandlerReport | None:
        """End if a user has asked for it."""
        if not node.is_failed or not self._is_stop_requested():
            return None
        return ProcessHandlerReport(do_break=True, exit_code=self.exit_codes.ERROR_STOPPED)

    @process_handler(
        exit_codes=[
            CODES.ERROR_OUT_OF_WALLTIME,
            CODES.ERROR_KILLED,
        ]
    )
    def continue_from_checkpoint(self, node: orm.CalcJobNode) -> ProcessHandlerReport:
        """Continue from the checkpoint; end if the job used up its wall time without completing a step."""
        result = node.outputs.result
        if not has_progressed(result.get_dict()):
            if result['outcome'] != 'out_of_walltime':
                return self._submit_again(node, self.exit_codes.ERROR_JOBS_LOST)
            return ProcessHandlerReport(do_break=True, exit_code=self.exit_codes.ERROR_NO_PROGRESS)
        self.ctx.n_lost = 0
        self.ctx.inputs.checkpoint = node.outputs.checkpoint
        self.report(f'job {node.pk} stopped after {self.STEP} {result["last_step"]}; continuing')
        return ProcessHandlerReport(do_break=True)

    @process_handler(
        exit_codes=[
            CODES.ERROR_CANCELLED,
            CODES.ERROR_RESULT_MISSING,
        ]
    )
    def replace_lost_job(self, node: orm.CalcJobNode) -> ProcessHandlerReport:
        """Resubmit a job that was cancelled, was killed before its first checkpoint, or lost its folder."""
        return self._submit_again(node, self.exit_codes.ERROR_JOBS_LOST)

    @process_handler(
        exit_codes=[
            CODES.ERROR_RESULT_UNREADABLE,
            CODES.ERROR_TRAJECTORY_MISSING,
            CODES.ERROR_TRAJECTORY_UNREADABLE,
            CODES.ERROR_CHECKPOINT_UNREADABLE,
        ]
    )
    def replace_unreadable_leg(self, node: orm.CalcJobNode) -> ProcessHandlerReport:
        """Resubmit a job that left a damaged file. None of its outputs were kept."""
        return self._submit_again(node, self.exit_codes.ERROR_FILES_UNREADABLE)

    def _submit_again(self, node: orm.CalcJobNode, give_up: ExitCode) -> ProcessHandlerReport:
        """Submit a job again with the same inputs. If this happens too often in a row, end."""
        self.ctx.n_lost += 1
        if self.ctx.n_lost > MAX_LOST:
            return ProcessHandlerReport(do_break=True, exit_code=give_up)
        self.report(lost_message(node))
        return ProcessHandlerReport(do_break=True)

    @process_handler(exit_codes=[CODES.ERROR_SCHEDULER_OUT_OF_MEMORY])
    def increase_memory(self, node: orm.CalcJobNode) -> ProcessHandlerReport:
        """Submit a job again with more memory from the last checkpoint. If this is not enough, end."""
        options = self.ctx.inputs.metadata.options
        factor, memory_kB = self.inputs.retry_memory_factor, options.get('max_memory_kb')
        if self.ctx.has_more_memory or factor == 1 or memory_kB is None:
            self.report(f'job {node.pk} ran out of memory; it was allocated {_megabytes(memory_kB)}')
            return ProcessHandlerReport(do_break=True, exit_code=self.exit_codes.ERROR_OUT_OF_MEMORY)
        self.ctx.has_more_memory = True
        options['max_memory_kb'] = round(factor * memory_kB)
        self._take_checkpoint(node)
        self.report(f'job {node.pk} ran out of memory; submitting it again with {_megabytes(options["max_memory_kb"])}')
        return ProcessHandlerReport(do_break=True)

    @process_handler(exit_codes=[CODES.ERROR_DEVICE_OUT_OF_MEMORY])
    def stop_without_device_memory(self, node: orm.CalcJobNode) -> ProcessHandlerReport:
        """End, because more host memory would not help."""
        self.report(f'job {node.pk}: {node.exit_message}')
        return ProcessHandlerReport(do_break=True, exit_code=self.exit_codes.ERROR_DEVICE_OUT_OF_MEMORY)

    @process_handler(exit_codes=[CODES.ERROR_SCHEDULER_NODE_FAILURE])
    def continue_after_node_failure(self, node: orm.CalcJobNode) -> ProcessHandlerReport:
        """Submit the job again, from the last checkpoint if there is one."""
        self._take_checkpoint(node)
        self.report(f'the node of job {node.pk} failed; submitting the job again')
        return ProcessHandlerReport(do_break=True)

    @process_handler(exit_codes=[CODES.ERROR_SCHEDULER_OUT_OF_WALLTIME])
    def continue_after_time_limit(self, node: orm.CalcJobNode) -> ProcessHandlerReport:
        """Continue a job that the scheduler ended at its time limit; end if it left no checkpoint."""
        if not self._take_checkpoint(node):
            return ProcessHandlerReport(do_break=True, exit_code=self.exit_codes.ERROR_NO_PROGRESS)
        self.report(f'job {node.pk} was ended by the scheduler; continuing from its last checkpoint')
        return ProcessHandlerReport(do_break=True)

    def _take_checkpoint(self, node: orm.CalcJobNode) -> bool:
        """Start the next job from a job's checkpoint; return whether there is one."""
        has_checkpoint = 'checkpoint' in node.outputs
        if has_checkpoint:
            self.ctx.inputs.checkpoint = node.outputs.checkpoint
        return has_checkpoint


class RestartedLegs(RestartedJobs):
    """Decides after each leg whether another one follows, and from where; an unstable run is recovered."""

    _process_class: ClassVar = ExplorationCalculation

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:
        """Define the exit codes of unstable runs."""
        super().define(spec)
        spec.exit_code(410, 'ERROR_UNSTABLE', message='A guard stopped the run; the good frames are attached.')
        spec.exit_code(411, 'ERROR_NO_FRAME', message='The run has no good frame.')

    def setup(self) -> None:
        """Initialise the context, without recoveries."""
        super().setup()
        self.ctx.recoveries = 0

    @process_handler(exit_codes=[CODES.ERROR_UNSTABLE])
    def recover_from_last_good_frame(self, node: orm.CalcJobNode) -> ProcessHandlerReport:
        """Recover from the last good frame, at a lower temperature and with a smaller time step.

        This is repeated at most as often as the settings allow.
        """
        self.report(f'leg {len(self.ctx.legs)} was unstable: {node.outputs.result["message"]}')
        allowed = read_settings(node.inputs).recovery.max_recoveries
        if self.ctx.recoveries == allowed or 'checkpoint' not in node.outputs:
            return ProcessHandlerReport(do_break=True, exit_code=self.exit_codes.ERROR_UNSTABLE)
        self.ctx.recoveries += 1
        self.ctx.inputs.recoveries = orm.Int(self.ctx.recoveries)
        self.ctx.inputs.checkpoint = node.outputs.checkpoint
        return ProcessHandlerReport(do_break=True)

    @process_handler(exit_codes=[CODES.ERROR_NO_FRAME])
    def stop_without_frame(self, node: orm.CalcJobNode) -> ProcessHandlerReport:
        """End the exploration: another leg would end the same way."""
        self.report(f'no good frame: {node.exit_message}')
        return ProcessHandlerReport(do_break=True, exit_code=self.exit_codes.ERROR_NO_FRAME)


def _megabytes(kilobytes: int | None) -> str:
    return "the scheduler's default" if kilobytes is None else f'{kilobytes // 1024} MB'
