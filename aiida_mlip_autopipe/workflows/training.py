"""The work chain that trains a model, in as many jobs as necessary."""

from __future__ import annotations

from typing import ClassVar

from aiida import orm
from aiida.engine import ExitCode, ProcessHandlerReport, ToContext, if_, process_handler, while_

from aiida_mlip_autopipe.aiida_internals import WorkChainSpec, use_cache
from aiida_mlip_autopipe.calculations.training.replay import make_replay_structures
from aiida_mlip_autopipe.calculations.training.train import TrainingCalculation
from aiida_mlip_autopipe.training.replay import REPLAY_VERSION
from aiida_mlip_autopipe.training.trainer import N_REPLAY
from aiida_mlip_autopipe.workflows.graph import define_resumes
from aiida_mlip_autopipe.workflows.restarts import RestartedJobs


class TrainingWorkChain(RestartedJobs):
    """Trains a model; each job continues from the checkpoint of the previous one."""

    _process_class: ClassVar = TrainingCalculation
    STEP = 'epoch'

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:
        """Define inputs, outputs, the outline and exit codes."""
        super().define(spec)
        spec.expose_inputs(TrainingCalculation, namespace='job', exclude=('checkpoint',))
        spec.input(
            'n_replay',
            valid_type=orm.Int,
            required=False,
            help='Number of structures to make for replay, unless they are an input of the job.',
        )
        spec.input('reuse_finished', valid_type=bool, is_metadata=True, default=False, help='Take jobs from the cache.')
        define_resumes(spec)
        spec.expose_outputs(TrainingCalculation, exclude=('remote_folder', 'retrieved'))
        spec.exit_code(420, 'ERROR_TRAINING_FAILED', message='The training failed: {reason}')
        spec.exit_code(421, 'ERROR_REPLAY', message='The structures for replay cannot be made: {reason}')
        spec.outline(
            cls.setup,
            if_(cls.makes_replay)(cls.make_replay),
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

    def makes_replay(self) -> bool:
        """Return whether structures must be made for replay."""
        recipe = self.inputs.job.training.get('recipe', 'naive')
        return recipe == 'replay' and 'replay' not in self.inputs.job

    def make_replay(self) -> ExitCode | None:
        """Make structures of other chemical systems, which the job labels with the initial model."""
        job = self.inputs.job
        # Equal structures are equal inputs of the job, so this calculation does not need the cache.
        made, node = make_replay_structures.run_get_node(
            elements=orm.List(sorted(job.dataset.base.attributes.get('elements'))),
            supported=orm.List(sorted(job.model.base.attributes.get('elements') or ())),
            n_structures=self.inputs.get('n_replay', orm.Int(N_REPLAY)),
            random_seed=job.random_seed,
            stage_version=orm.Str(REPLAY_VERSION),
        )
        if not node.is_finished_ok:
            return self.exit_codes.ERROR_REPLAY.format(reason=node.exit_message)
        self.ctx.inputs.replay = made
        return None

    def run_process(self) -> ToContext:
        """Submit the next job, or take it from the cache."""
        with use_cache('mlip_autopipe.train', self.inputs.reuse_finished):
            return super().run_process()

    @process_handler(priority=-10)
    def stop_after_other_failures(self, node: orm.CalcJobNode) -> ProcessHandlerReport | None:
        """End after a failure that would happen again."""
        if not node.is_failed:
            return None
        exit_code = self.exit_codes.ERROR_TRAINING_FAILED.format(reason=node.exit_message)
        return ProcessHandlerReport(do_break=True, exit_code=exit_code)
