"""The work chain that explores one seed, in as many legs as necessary."""

from __future__ import annotations

from aiida import orm
from aiida.engine import ExitCode, ToContext, append_, while_

from aiida_mlip_autopipe.aiida_internals import WorkChainSpec, use_cache
from aiida_mlip_autopipe.calculations import validators
from aiida_mlip_autopipe.calculations.evaluate import EvaluationCalculation
from aiida_mlip_autopipe.calculations.explore import ExplorationCalculation
from aiida_mlip_autopipe.calculations.remote.recover import RecoverCalculation
from aiida_mlip_autopipe.calculations.stash import StashCalculation
from aiida_mlip_autopipe.jobs.contract import has_progressed
from aiida_mlip_autopipe.workflows.graph import RESUMES, define_resumes
from aiida_mlip_autopipe.workflows.legs.earlier import find_earlier_legs
from aiida_mlip_autopipe.workflows.legs.killed import (
    find_killed_job,
    folder_inputs,
    folder_of,
    is_leg,
    why_not_recovered,
)
from aiida_mlip_autopipe.workflows.restarts import RestartedLegs


class ExplorationWorkChain(RestartedLegs):
    """Explores one seed; each job is a leg that continues from the checkpoint of the previous leg."""

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:
        """Define inputs, the outline and exit codes."""
        super().define(spec)
        spec.expose_inputs(ExplorationCalculation, namespace='job', exclude=('checkpoint', 'recoveries'))
        spec.input(
            'reuse_finished',
            valid_type=bool,
            is_metadata=True,
            default=False,
            help='Take legs from the cache.',
        )
        define_resumes(spec)
        validators.set_validators(spec.inputs, validators.EXPLORATIONS)
        spec.expose_inputs(
            EvaluationCalculation,
            namespace='committee',
            exclude=('trajectory', 'seed'),
            namespace_options={
                'required': False,
                'populate_defaults': False,
                'help': 'A second calculator that evaluates the frames of every leg.',
            },
        )
        spec.expose_inputs(
            StashCalculation,
            namespace='stash',
            exclude=('source', 'result', 'code'),
            namespace_options={
                'required': False,
                'populate_defaults': False,
                'help': 'The folder to which the full trajectory of every leg is copied after the leg has been parsed.',
            },
        )
        spec.output_namespace(
            'legs', valid_type=orm.TrajectoryData, help='The good frames, as one trajectory for each leg.'
        )
        spec.output_namespace('crashes', valid_type=orm.SinglefileData, help='Frames around a crash, for each leg.')
        spec.output_namespace(
            'committee', valid_type=orm.ArrayData, help='The evaluations of the committee, for each leg.'
        )
        spec.output_namespace(
            'stashed', valid_type=orm.RemoteStashFolderData, help='Copies of the full trajectories, for each leg.'
        )
        spec.output('result', valid_type=orm.Dict, required=False, help='The result of the last leg.')
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
        self.ctx.legs = []
        self.ctx.failure = None
        self.ctx.legs_to_evaluate = []
        self.ctx.legs_to_stash = []
        # The pks of killed jobs whose files were already requested.
        self.ctx.killed = []
        if self.inputs.reuse_finished:
            self._take_earlier_legs()

    def _take_earlier_legs(self) -> None:
        """Continue from a finished exploration that is the beginning of this one, if one exists."""
        search = find_earlier_legs(self.ctx.inputs)
        legs = search.legs
        for pk in search.of_other_schedules:
            self.report(
                f'not continuing the shorter exploration {pk}: its schedule differs from the beginning of this one'
            )
        if legs is None:
            return
        for job in legs.jobs:
            self._keep_leg(job)
        self.ctx.inputs.checkpoint = legs.checkpoint
        if legs.recoveries is not None:
            self.ctx.inputs.recoveries, self.ctx.recoveries = legs.recoveries, legs.recoveries.value
        self.report(f'continuing exploration {legs.exploration} from step {legs.step}')

    def run_process(self) -> ToContext:
        """Submit the next leg, or recover it from the folder of a killed job with the same inputs."""
        killed = self._find_killed_job()
        if killed is not None:
            return self._recover(killed)
        with use_cache('mlip_autopipe.explore', self.inputs.reuse_finished):
            return super().run_process()

    def _find_killed_job(self) -> orm.CalcJobNode | None:
        if not self.inputs.reuse_finished:
            return None
        return find_killed_job(self.ctx.inputs, self.inputs.get(RESUMES), self.ctx.killed)

    def _recover(self, killed: orm.CalcJobNode) -> ToContext:
        """Recover a leg from the folder of a killed job, in place of the job that would compute it again."""
        self.ctx.killed.append(killed.pk)
        self.ctx.iteration += 1
        inputs = folder_inputs(self.ctx.inputs, killed, f'recover_{len(self.ctx.killed):02d}')
        with use_cache('mlip_autopipe.explore.recover'):
            recovery = self.submit(RecoverCalculation, inputs)
        self.report(f'recovering the files of job {killed.pk}, which was {killed.process_state.value}')
        return ToContext(children=append_(recovery))

    def inspect_process(self) -> ExitCode | None:
        """Keep the outputs of the leg, however it ended, then let the handlers decide whether another leg follows."""
        job = self.ctx.children[-1]
        if job.process_class is RecoverCalculation and not is_leg(job) and not self._is_stop_requested():
            self.report(why_not_recovered(job))
            # The next iteration runs the leg that could not be recovered.
            self.ctx.children.pop()
            self.ctx.iteration -= 1
            return None
        if 'result' in job.outputs:
            self.ctx.result = job.outputs.result
        if _is_leg(job):
            self.ctx.n_lost = 0
            self._keep_leg(job)
        exit_code = super().inspect_process()
        if (self.ctx.is_finished or exit_code is not None) and 'result' in self.ctx:
            self.out('result', self.ctx.result)
        if exit_code is not None and exit_code.status:
            # Frames before a failure are candidates like all others, so the committee evaluates them, too.
            self.ctx.failure, self.ctx.is_finished = exit_code, True
            return None
        return exit_code

    def _keep_leg(self, job: orm.CalcJobNode) -> None:
        """Add the outputs of a job as the next leg."""
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
        """Return whether a leg remains to be evaluated by the committee."""
        return 'committee' in self.inputs and bool(self.ctx.legs_to_evaluate) and not self._is_stop_requested()

    def evaluate_leg(self) -> ToContext:
        """Evaluate the next leg. Legs are evaluated one at a time, so a seed occupies only two slots of a worker."""
        leg = self.ctx.legs_to_evaluate[0]
        inputs = self.exposed_inputs(EvaluationCalculation, 'committee')
        inputs.trajectory = self._job_of(leg).outputs.trajectory
        inputs.seed = self.inputs.job.seed
        inputs.metadata['call_link_label'] = f'committee_{leg:02d}'
        with use_cache('mlip_autopipe.evaluate', self.inputs.reuse_finished):
            return ToContext(evaluation=self.submit(EvaluationCalculation, inputs))

    def keep_evaluation(self) -> None:
        """Keep the available results; a failure is reported but does not fail the exploration."""
        leg, node = self.ctx.legs_to_evaluate.pop(0), self.ctx.evaluation
        if not node.is_finished_ok:
            self.report(
                f'the committee did not evaluate all of leg {leg}: {node.exit_message or node.process_state.value}'
            )
        if 'evaluation' in node.outputs:
            self.out(f'committee.leg_{leg:02d}', node.outputs.evaluation)

    def has_leg_to_stash(self) -> bool:
        """Return whether a full trajectory remains to be copied."""
        return 'stash' in self.inputs and bool(self.ctx.legs_to_stash) and not self._is_stop_requested()

    def stash_leg(self) -> ToContext:
        """Copy the full trajectory of the next leg, after all outputs of the seed have been retrieved."""
        leg = self.ctx.legs_to_stash[0]
        job = self._job_of(leg)
        inputs = self.exposed_inputs(StashCalculation, 'stash')
        inputs.source, inputs.result = folder_of(job), job.outputs.result
        inputs.metadata['call_link_label'] = f'stash_{leg:02d}'
        with use_cache('mlip_autopipe.stash', self.inputs.reuse_finished):
            return ToContext(stashed=self.submit(StashCalculation, inputs))

    def keep_stashed(self) -> None:
        """Keep the folder of the copy; if the copy failed, the original remains and the seed is not affected."""
        leg, node = self.ctx.legs_to_stash.pop(0), self.ctx.stashed
        if node.is_finished_ok:
            self.out(f'stashed.leg_{leg:02d}', node.outputs.stashed)
        else:
            self.report(
                f'the full trajectory of leg {leg} could not be copied and remains in '
                f'{node.inputs.source.get_remote_path()}: {node.exit_message or node.process_state.value}'
            )

    def conclude(self) -> ExitCode | None:
        """End with the exit code of the last leg."""
        return self.ctx.failure


def _is_leg(job: orm.CalcJobNode) -> bool:
    """Return whether a job produced frames, frames around a crash, or a checkpoint after its start."""
    outputs = job.outputs
    if 'trajectory' in outputs or 'crash' in outputs:
        return True
    return 'checkpoint' in outputs and has_progressed(outputs.result.get_dict())
