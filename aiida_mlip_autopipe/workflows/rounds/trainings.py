"""The training runs of a round."""

from __future__ import annotations

from aiida import orm

from aiida_mlip_autopipe.aiida_internals import WorkChainSpec
from aiida_mlip_autopipe.calculations.rounds.divide_rows import DIVIDE_VERSION, divide_rows
from aiida_mlip_autopipe.calculations.training.train import TrainingCalculation
from aiida_mlip_autopipe.core.errors import AutopipeError, first_line
from aiida_mlip_autopipe.data.model import ModelData
from aiida_mlip_autopipe.installation.models import ensure_placed
from aiida_mlip_autopipe.workflows.graph import RESUMES
from aiida_mlip_autopipe.workflows.rounds.ports import define_inputs, define_outputs
from aiida_mlip_autopipe.workflows.throttle import ThrottledWorkChain
from aiida_mlip_autopipe.workflows.training import TrainingWorkChain

N_TUNINGS = 3
"""Number of models that each round trains. They differ in random seed and sets; the first one is the candidate."""
FRACTIONS = {'quarter': 0.25, 'half': 0.5}
"""Fractions of the labels on which models are trained to estimate how many labels are needed to reach the target."""


class RoundTrainings(ThrottledWorkChain):
    """Trains the models of a round from the starting model, with all labels in ``ctx.dataset``."""

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:
        """Define inputs, outputs and exit codes."""
        super().define(spec)
        define_inputs(spec)
        define_outputs(spec)

    def plan_trainings(self) -> None:
        """Divide the rows for each training run, and queue the runs."""
        self.start_empty()
        self.ctx.stage = 'training'
        self.ctx.sets = {}
        # Why a model does not exist, by the name of its training run.
        self.ctx.failures = {}
        plans = {f'tuning_{number}': (number, 1.0) for number in range(N_TUNINGS)}
        if self.ctx.round == 1 and self.inputs.rounds['estimate_labels']:
            plans |= {name: (0, fraction) for name, fraction in FRACTIONS.items()}
        for name, (number, fraction) in plans.items():
            outputs, node = self.call(
                divide_rows,
                dataset=self.ctx.dataset,
                tuning=orm.Dict({'round': self.ctx.round, 'number': number, 'fraction': fraction}),
                random_seed=self.inputs.random_seed,
                stage_version=orm.Str(DIVIDE_VERSION),
            )
            if not node.is_finished_ok:
                self.ctx.failures[name] = node.exit_message
                continue
            self.ctx.sets[name] = {key: outputs[key].pk for key in ('splits', 'random_seed')}
            self.ctx.waiting.append(name)

    def link_label(self, label: str) -> str:
        """Return a unique label for the link to the next child process with this label."""
        return f'round_{self.ctx.round}_{super().link_label(label)}'

    def submit_training(self, name: str) -> orm.WorkChainNode:
        """Submit a training run."""
        job = self.exposed_inputs(TrainingCalculation, 'training')
        job['dataset'] = self.ctx.dataset
        job |= {key: orm.load_node(pk) for key, pk in self.ctx.sets[name].items()}
        return self.submit(
            TrainingWorkChain,
            job=job,
            n_replay=self.inputs.n_replay,
            max_iterations=self.inputs.max_training_jobs,
            reuse_finished=self.inputs.reuse_finished,
            **({RESUMES: self.inputs[RESUMES]} if RESUMES in self.inputs else {}),
            metadata={'call_link_label': self.link_label(name)},
        )

    def keep_models(self) -> None:
        """Output the models, and copy those that will be used to the computers of their jobs."""
        # The pks of the models, and of the reports of their training, by the name of the training run.
        self.ctx.models, self.ctx.reports_of_training = {}, {}
        for name, pk in sorted(self.ctx.ended.items()):
            node = orm.load_node(pk)
            if 'trained' not in node.outputs:
                self.ctx.failures[name] = node.exit_message or node.process_state.value
                continue
            model: ModelData = node.outputs.trained
            try:
                for code in self._codes():
                    ensure_placed(model, code)
            except (AutopipeError, OSError) as error:
                self.ctx.failures[name] = f'its model cannot be copied: {first_line(error)}'
                continue
            self.out(f'rounds.round_{self.ctx.round}.models.{name}', model)
            self.ctx.models[name] = model.pk
            self.ctx.reports_of_training[name] = node.outputs.report.pk
        for name, reason in self.ctx.failures.items():
            self.report(f'round {self.ctx.round}: training run {name} failed: {reason}')

    def _codes(self) -> list[orm.AbstractCode]:
        """Return the codes of the jobs that use models."""
        found = [one['code'] for one in self.inputs.codes.values()]
        return list({code.pk: code for code in [*found, self.inputs.training.code]}.values())
