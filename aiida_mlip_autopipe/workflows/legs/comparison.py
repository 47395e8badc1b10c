"""The steps of a round that compare the models of the previous round on the explored frames."""

from __future__ import annotations

from aiida import orm

from aiida_mlip_autopipe.aiida_internals import WorkChainSpec, use_cache
from aiida_mlip_autopipe.calculations.rounds.assess import AssessmentCalculation
from aiida_mlip_autopipe.calculations.rounds.compare_models import COMPARE_VERSION, compare_models
from aiida_mlip_autopipe.data.model import ModelData
from aiida_mlip_autopipe.data.trajectory import link_labels
from aiida_mlip_autopipe.workflows.selection import SelectionWorkChain

PREFIX = 'compare_'
"""Prefix of the labels of the assessments."""
NOT_OF_THE_CODE = (
    'model',
    'member_models',
    'dataset',
    'rows',
    'legs',
    'seeds',
    'elements',
    'other_chemistry',
    'hot_seeds',
    'hot_runs',
    'random_seed',
    'unfinished',
)


class ComparedFrames(SelectionWorkChain):
    """Measures the disagreement of several models about the explored frames. The selection uses it."""

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:
        """Define the inputs of the comparison."""
        super().define(spec)
        spec.expose_inputs(
            AssessmentCalculation,
            namespace='comparison',
            exclude=NOT_OF_THE_CODE,
            namespace_options={
                'required': False,
                'populate_defaults': False,
                'help': 'The jobs that evaluate the explored frames with `models`.',
            },
        )
        # The validator of the job refuses inputs without frames, which do not exist yet.
        spec.inputs['comparison'].validator = None
        spec.input_namespace('comparison.models', valid_type=ModelData, required=False, help='The compared models.')
        spec.output(
            'uncertainties', valid_type=orm.ArrayData, required=False, help='The disagreement of the compared models.'
        )

    def plan_comparison(self) -> None:
        """Queue an assessment of all explored frames for each model."""
        if 'comparison' in self.inputs:
            self.start_empty()
            self.ctx.waiting = [f'{PREFIX}{name}' for name in sorted(self.inputs.comparison.models)]

    def submit_comparison(self, label: str) -> orm.CalcJobNode:
        """Submit the assessment of the explored frames by a model, or take it from the cache."""
        inputs = self.exposed_inputs(AssessmentCalculation, 'comparison')
        inputs.pop('models', None)
        inputs['model'] = self.inputs.comparison.models[label.removeprefix(PREFIX)]
        legs = self._legs()
        explored = {leg.base.attributes.get('seed_id') for leg in legs}
        inputs['legs'] = link_labels('trajectory', legs)
        inputs['seeds'] = {f'seed_{seed.seed_id}': seed for seed in self._seeds() if seed.seed_id in explored}
        inputs['metadata']['call_link_label'] = self.link_label(label)
        with use_cache('mlip_autopipe.assess', self.inputs.reuse_finished):
            return self.submit(AssessmentCalculation, **inputs)

    def compare_models(self) -> None:
        """Compare the models. If fewer than two could be assessed, the selection does not use their disagreement."""
        if 'comparison' not in self.inputs:
            return
        ended = {label: orm.load_node(pk) for label, pk in sorted(self.ctx.ended.items())}
        for label, node in ended.items():
            if not node.is_finished_ok:
                self.report(f'{label}: {node.exit_message or node.process_state.value}')
        assessments = {label: node.outputs.assessment for label, node in ended.items() if node.is_finished_ok}
        if len(assessments) < 2:
            return
        found, node = self.call(compare_models, stage_version=orm.Str(COMPARE_VERSION), assessments=assessments)
        if not node.is_finished_ok:
            self.report(f'the models cannot be compared: {node.exit_message}')
            return
        self.ctx.uncertainties = found
        self.out('uncertainties', found)
