"""The work chain that explores one seed to its end, in as many legs as that takes."""

from __future__ import annotations

from aiida import orm
from aiida.engine import (
    BaseRestartWorkChain,
    ExitCode,
    ProcessHandlerReport,
    ToContext,
    process_handler,
    while_,
)
from aiida.engine.processes.workchains.workchain import WorkChainSpec

from aiida_mlip_autopipe.calculations import validators
from aiida_mlip_autopipe.calculations.evaluate import EvaluationCalculation
from aiida_mlip_autopipe.calculations.explore import ExplorationCalculation
from aiida_mlip_autopipe.calculations.stash import StashCalculation
from aiida_mlip_autopipe.exploration import ExplorationSettings
from aiida_mlip_autopipe.workflows.reuse import reuse_finished
from aiida_mlip_autopipe.workflows.stopping import is_asked_to_stop
from aiida_mlip_autopipe.workflows.submit_once import SubmitOnceWorkChain

# Jobs in a row that are submitted again because the one before left nothing. Whoever cancels more often means it.
MAX_LOST = 2


class ExplorationWorkChain(SubmitOnceWorkChain, BaseRestartWorkChain):
    """Explores one seed; each submission is a leg that continues from the checkpoint of the one before."""

    _process_class = ExplorationCalculation

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:
        """Define inputs, the outline and exit codes."""
        super().define(spec)
        spec.expose_inputs(ExplorationCalculation, namespace='job', exclude=('checkpoint', 'rescues'))
        spec.input(
            'reuse_finished', valid_type=bool, is_metadata=True, default=False, help='Take finished legs from cache.'
        )
        spec.input(
            'retry_memory_factor',
            valid_type=float,
            is_metadata=True,
            default=1.0,
            help='A leg that ran out of memory is submitted once more with so much more; 1 gives up.',
        )
        validators.guard(spec.inputs, validators.EXPLORATIONS)
        spec.expose_inputs(
            EvaluationCalculation,
            namespace='committee',
            exclude=('trajectory', 'seed'),
            namespace_options={
                'required': False,
                'populate_defaults': False,
                'help': 'A second calculator that looks at the frames of every leg.',
            },
        )
        spec.expose_inputs(
            StashCalculation,
            namespace='stash',
            exclude=('source', 'result', 'code'),
            namespace_options={
                'required': False,
                'populate_defaults': False,
                'help': 'Where the full trajectory of every leg is copied to once the leg has been read.',
            },
        )
        spec.output_namespace('legs', valid_type=orm.TrajectoryData, help='The good frames, a trajectory a leg.')
        spec.output_namespace('crashes', valid_type=orm.SinglefileData, help='Frames around events, for each leg.')
        spec.output_namespace(
            'committee', valid_type=orm.ArrayData, help='What the second calculator says of the frames, for each leg.'
        )
        spec.output_namespace(
            'stashed', valid_type=orm.RemoteStashFolderData, help='Copies of the full trajectories, for each leg.'
        )
        spec.output('result', valid_type=orm.Dict, required=False, help='What the last leg says of itself.')
        spec.exit_code(403, 'ERROR_NO_PROGRESS', message='A leg used up its wall time without a single step.')
        spec.exit_code(
            404, 'ERROR_OUT_OF_MEMORY', message='The job ran out of memory; execution.memory_MB sets how much it has.'
        )
        spec.exit_code(405, 'ERROR_STOPPED', message='The campaign was stopped; the checkpoint is kept.')
        spec.exit_code(
            406,
            'ERROR_JOBS_LOST',
            message='Several jobs in a row were cancelled, were killed before their first checkpoint, or lost their '
            'folder.',
        )
        spec.exit_code(
            407,
            'ERROR_DEVICE_OUT_OF_MEMORY',
            message='The GPU ran out of memory: take smaller seeds, a larger GPU or fewer jobs per GPU.',
        )
        spec.exit_code(
            408, 'ERROR_FILES_UNREADABLE', message='The files that several jobs in a row left could not be read.'
        )
        spec.exit_code(410, 'ERROR_UNSTABLE', message='A guard stopped the run; the frames before it are attached.')
        spec.exit_code(411, 'ERROR_NO_FRAME', message='The run ended without any good frame.')
        spec.outline(
            cls.setup,
            while_(cls.should_run_process)(
                cls.run_process,
                cls.inspect_process,
            ),
            while_(cls.has_leg_to_evaluate)(
                cls.evaluate_leg,
                cls.keep_evaluation,
            ),
            while_(cls.has_leg_to_stash)(
                cls.stash_leg,
                cls.keep_stashed,
            ),
            cls.conclude,
        )

    def setup(self) -> None:
        """Prepare the inputs of the first leg."""
        super().setup()
        self.ctx.inputs = self.exposed_inputs(ExplorationCalculation, 'job')
        self.ctx.rescues = 0
        self.ctx.n_lost = 0
        self.ctx.legs = []
        self.ctx.has_more_memory = False
        self.ctx.failure = None
        self.ctx.legs_to_evaluate = []
        self.ctx.legs_to_stash = []

    def run_process(self) -> ToContext:
        """Submit the next leg."""
        with reuse_finished('mlip_autopipe.explore', self.inputs.reuse_finished):
            return super().run_process()

    def inspect_process(self) -> ExitCode | None:
        """Keep what the leg brought, however it ended, then let the handlers decide whether there is another."""
        job = self.ctx.children[-1]
        if 'result' in job.outputs:
            self.ctx.result = job.outputs.result
        if _is_leg(job):
            self.ctx.n_lost = 0
            self._keep_leg(job)
        exit_code = super().inspect_process()
        if (self.ctx.is_finished or exit_code is not None) and 'result' in self.ctx:
            self.out('result', self.ctx.result)
        if exit_code is not None and exit_code.status:
            # The frames before a failure are candidates like all others, and are evaluated like them.
            self.ctx.failure, self.ctx.is_finished = exit_code, True
            return None
        return exit_code

    def _keep_leg(self, job: orm.CalcJobNode) -> None:
        """Make what a job brought the next leg of this exploration."""
        self.ctx.legs.append(job.pk)
        leg, outputs = len(self.ctx.legs), job.outputs
        if 'trajectory' in outputs:
            self.out(f'legs.leg_{leg:02d}', outputs.trajectory)
            self.ctx.legs_to_evaluate.append(leg)
        if 'crash' in outputs:
            self.out(f'crashes.leg_{leg:02d}', outputs.crash)
        if 'result' in outputs and outputs.result.get('full_trajectory'):
            self.ctx.legs_to_stash.append(leg)

    def _job_of(self, leg: int) -> orm.CalcJobNode:
        return orm.load_node(self.ctx.legs[leg - 1])

    def has_leg_to_evaluate(self) -> bool:
        """Return whether there is a committee, and a leg that it has not looked at."""
        return 'committee' in self.inputs and bool(self.ctx.legs_to_evaluate) and not self._is_asked_to_stop()

    def evaluate_leg(self) -> ToContext:
        """Let the second calculator look at the next leg; one at a time, so that a seed holds two slots of a worker."""
        leg = self.ctx.legs_to_evaluate[0]
        inputs = self.exposed_inputs(EvaluationCalculation, 'committee')
        inputs.trajectory = self._job_of(leg).outputs.trajectory
        inputs.seed = self.inputs.job.seed
        inputs.metadata['call_link_label'] = f'committee_{leg:02d}'
        with reuse_finished('mlip_autopipe.evaluate', self.inputs.reuse_finished):
            return ToContext(evaluation=self.submit(EvaluationCalculation, inputs))

    def keep_evaluation(self) -> None:
        """Keep what there is of it; a failure is told and fails nothing."""
        leg, node = self.ctx.legs_to_evaluate.pop(0), self.ctx.evaluation
        if not node.is_finished_ok:
            self.report(f'the committee has not evaluated all of leg {leg}: {node.exit_message or node.process_state}')
        if 'evaluation' in node.outputs:
            self.out(f'committee.leg_{leg:02d}', node.outputs.evaluation)

    def has_leg_to_stash(self) -> bool:
        """Return whether full trajectories are to be copied, and one is not yet."""
        return 'stash' in self.inputs and bool(self.ctx.legs_to_stash) and not self._is_asked_to_stop()

    def stash_leg(self) -> ToContext:
        """Copy the full trajectory of the next leg; all that the seed brings to the dataset has been retrieved."""
        leg = self.ctx.legs_to_stash[0]
        job = self._job_of(leg)
        inputs = self.exposed_inputs(StashCalculation, 'stash')
        inputs.source, inputs.result = job.outputs.remote_folder, job.outputs.result
        inputs.metadata['call_link_label'] = f'stash_{leg:02d}'
        with reuse_finished('mlip_autopipe.stash', self.inputs.reuse_finished):
            return ToContext(stashed=self.submit(StashCalculation, inputs))

    def keep_stashed(self) -> None:
        """Keep where the copy is; where there is none the original stays, and the seed is none the worse."""
        leg, node = self.ctx.legs_to_stash.pop(0), self.ctx.stashed
        if node.is_finished_ok:
            self.out(f'stashed.leg_{leg:02d}', node.outputs.stashed)
        else:
            self.report(
                f'the full trajectory of leg {leg} stays in {node.inputs.source.get_remote_path()}, it could not be '
                f'stashed: {node.exit_message or node.process_state}'
            )

    def conclude(self) -> ExitCode | None:
        """End as the last leg ended."""
        return self.ctx.failure

    def _is_asked_to_stop(self) -> bool:
        return self.node.caller is not None and is_asked_to_stop(self.node.caller.pk)

    @process_handler(priority=1000)
    def stop_when_asked(self, node: orm.CalcJobNode) -> ProcessHandlerReport | None:
        """Let no leg follow one that a person has stopped."""
        if not node.is_failed or not self._is_asked_to_stop():
            return None
        return ProcessHandlerReport(do_break=True, exit_code=self.exit_codes.ERROR_STOPPED)

    @process_handler(
        exit_codes=[
            ExplorationCalculation.exit_codes.ERROR_OUT_OF_WALLTIME,
            ExplorationCalculation.exit_codes.ERROR_KILLED,
        ]
    )
    def continue_from_checkpoint(self, node: orm.CalcJobNode) -> ProcessHandlerReport:
        """Continue where the leg ended; give up where it did not move at all."""
        result = node.outputs.result
        if result['last_step'] == result['first_step']:
            if result['outcome'] != 'out_of_walltime':
                return self._submit_again(node, self.exit_codes.ERROR_JOBS_LOST)
            return ProcessHandlerReport(do_break=True, exit_code=self.exit_codes.ERROR_NO_PROGRESS)
        self.ctx.inputs.checkpoint = node.outputs.checkpoint
        self.report(f'leg {self._leg} stopped at step {result["last_step"]}, continuing')
        return ProcessHandlerReport(do_break=True)

    @process_handler(
        exit_codes=[
            ExplorationCalculation.exit_codes.ERROR_CANCELLED,
            ExplorationCalculation.exit_codes.ERROR_RESULT_MISSING,
        ]
    )
    def replace_lost_job(self, node: orm.CalcJobNode) -> ProcessHandlerReport:
        """Submit again a job that was cancelled, was killed before its first checkpoint, or lost its folder."""
        return self._submit_again(node, self.exit_codes.ERROR_JOBS_LOST)

    @process_handler(
        exit_codes=[
            ExplorationCalculation.exit_codes.ERROR_RESULT_UNREADABLE,
            ExplorationCalculation.exit_codes.ERROR_TRAJECTORY_MISSING,
            ExplorationCalculation.exit_codes.ERROR_TRAJECTORY_UNREADABLE,
            ExplorationCalculation.exit_codes.ERROR_CHECKPOINT_UNREADABLE,
        ]
    )
    def replace_unreadable_leg(self, node: orm.CalcJobNode) -> ProcessHandlerReport:
        """Submit a leg again of which a file is damaged; nothing of it was kept."""
        return self._submit_again(node, self.exit_codes.ERROR_FILES_UNREADABLE)

    def _submit_again(self, node: orm.CalcJobNode, give_up: ExitCode) -> ProcessHandlerReport:
        """Submit a job again with the inputs it had; too often in a row, end with an exit code."""
        self.ctx.n_lost += 1
        if self.ctx.n_lost > MAX_LOST:
            return ProcessHandlerReport(do_break=True, exit_code=give_up)
        self.report(f'job {node.pk} left nothing to continue from ({node.exit_message}), submitting it again')
        return ProcessHandlerReport(do_break=True)

    @process_handler(exit_codes=[ExplorationCalculation.exit_codes.ERROR_UNSTABLE])
    def rescue_from_last_good_frame(self, node: orm.CalcJobNode) -> ProcessHandlerReport:
        """Go on from the last good frame, cooler and with a smaller step, as often as the settings allow."""
        self.report(f'leg {self._leg} was unstable: {node.outputs.result["message"]}')
        allowed = ExplorationSettings(**node.inputs.exploration.get_dict()).rescue.max_rescues
        if self.ctx.rescues == allowed or 'checkpoint' not in node.outputs:
            return ProcessHandlerReport(do_break=True, exit_code=self.exit_codes.ERROR_UNSTABLE)
        self.ctx.rescues += 1
        self.ctx.inputs.rescues = orm.Int(self.ctx.rescues)
        self.ctx.inputs.checkpoint = node.outputs.checkpoint
        return ProcessHandlerReport(do_break=True)

    @process_handler(exit_codes=[ExplorationCalculation.exit_codes.ERROR_SCHEDULER_OUT_OF_MEMORY])
    def ask_for_more_memory(self, node: orm.CalcJobNode) -> ProcessHandlerReport:
        """Submit once more with more memory, from the last checkpoint; a second time it is given up."""
        options = self.ctx.inputs.metadata.options
        factor, asked = self.inputs.retry_memory_factor, options.get('max_memory_kb')
        if self.ctx.has_more_memory or factor == 1 or asked is None:
            self.report(f'job {node.pk} ran out of memory, of which it had {_megabytes(asked)}')
            return ProcessHandlerReport(do_break=True, exit_code=self.exit_codes.ERROR_OUT_OF_MEMORY)
        self.ctx.has_more_memory = True
        options['max_memory_kb'] = round(factor * asked)
        self._take_checkpoint(node)
        self.report(f'job {node.pk} ran out of memory; once more with {_megabytes(options["max_memory_kb"])}')
        return ProcessHandlerReport(do_break=True)

    @process_handler(exit_codes=[ExplorationCalculation.exit_codes.ERROR_DEVICE_OUT_OF_MEMORY])
    def stop_without_device_memory(self, node: orm.CalcJobNode) -> ProcessHandlerReport:
        """Stop: the GPU has as much memory the next time, however much the host is asked for."""
        self.report(f'job {node.pk}: {node.exit_message}')
        return ProcessHandlerReport(do_break=True, exit_code=self.exit_codes.ERROR_DEVICE_OUT_OF_MEMORY)

    @process_handler(exit_codes=[ExplorationCalculation.exit_codes.ERROR_SCHEDULER_NODE_FAILURE])
    def go_on_after_node_failure(self, node: orm.CalcJobNode) -> ProcessHandlerReport:
        """Submit again, from the last checkpoint where there is one."""
        self._take_checkpoint(node)
        self.report(f'the node of job {node.pk} failed, submitting again')
        return ProcessHandlerReport(do_break=True)

    @process_handler(exit_codes=[ExplorationCalculation.exit_codes.ERROR_SCHEDULER_OUT_OF_WALLTIME])
    def go_on_after_a_cut(self, node: orm.CalcJobNode) -> ProcessHandlerReport:
        """Continue a job that the scheduler cut off before it could end itself; give up where it left nothing."""
        if not self._take_checkpoint(node):
            return ProcessHandlerReport(do_break=True, exit_code=self.exit_codes.ERROR_NO_PROGRESS)
        self.report(f'leg {self._leg} was cut off, continuing from its last checkpoint')
        return ProcessHandlerReport(do_break=True)

    @property
    def _leg(self) -> int:
        return len(self.ctx.legs)

    def _take_checkpoint(self, node: orm.CalcJobNode) -> bool:
        """Let the next leg start from a leg's checkpoint; return whether it left one."""
        left = 'checkpoint' in node.outputs
        if left:
            self.ctx.inputs.checkpoint = node.outputs.checkpoint
        return left

    @process_handler(exit_codes=[ExplorationCalculation.exit_codes.ERROR_NO_FRAME])
    def stop_without_frame(self, node: orm.CalcJobNode) -> ProcessHandlerReport:
        """Stop: another leg would end the same way."""
        self.report(f'no good frame: {node.exit_message}')
        return ProcessHandlerReport(do_break=True, exit_code=self.exit_codes.ERROR_NO_FRAME)


def why_ended(node: orm.WorkChainNode) -> str:
    """Return why an exploration ended as it did: what its last job says, where that says more."""
    jobs = [job for job in node.called if job.process_class is ExplorationCalculation]
    last = max(jobs, key=lambda job: job.pk, default=node)
    return last.exit_message or node.exit_message or node.process_status or str(node.process_state)


def _is_leg(job: orm.CalcJobNode) -> bool:
    """Return whether a job brought something: frames, those around a crash, or a checkpoint of a later step."""
    outputs = job.outputs
    if 'trajectory' in outputs or 'crash' in outputs:
        return True
    return 'checkpoint' in outputs and outputs.result['last_step'] > outputs.result['first_step']


def _megabytes(kilobytes: int | None) -> str:
    return 'as much as the scheduler gives unasked' if kilobytes is None else f'{kilobytes // 1024} MB'
