"""The assessments of the models of a round."""

from __future__ import annotations

from typing import Any

from aiida import orm

from aiida_mlip_autopipe.aiida_internals import use_cache
from aiida_mlip_autopipe.calculations.rounds.assess import AssessmentCalculation
from aiida_mlip_autopipe.calculations.rounds.make_drift_structures import make_drift_structures
from aiida_mlip_autopipe.calculations.training.train import TrainingCalculation
from aiida_mlip_autopipe.core.randomness import make_rng
from aiida_mlip_autopipe.data.trajectory import link_labels, sort_trajectories
from aiida_mlip_autopipe.jobs.version import ASSESSMENT_VERSION
from aiida_mlip_autopipe.structures.rows.provenance import SEED_PREFIX
from aiida_mlip_autopipe.training.replay import REPLAY_VERSION
from aiida_mlip_autopipe.workflows.graph import EXPLORATION
from aiida_mlip_autopipe.workflows.rounds.trainings import FRACTIONS, N_TUNINGS, RoundTrainings

N_DRIFT = 20
"""Number of structures of other chemical systems on which the drift of a model is measured."""
CODES = AssessmentCalculation.exit_codes
CONTINUED = {CODES.ERROR_OUT_OF_WALLTIME.status, CODES.ERROR_KILLED.status}
"""Exit codes of a job after which another one continues."""
FORMER = 'former'
OF_THE_CODE = ('code', 'calculator', 'environment', 'image_sha256', 'python_path')
"""Inputs that training jobs and assessment jobs share."""


class RoundAssessments(RoundTrainings):
    """Assesses the new models and the previous one with the code of the trainer.

    The first new model, the candidate, and the previous model are compared. The disagreement of all new models is
    measured for the random rows of the round and for the explored frames.
    """

    def plan_assessments(self) -> None:
        """Queue the assessments."""
        self.start_empty()
        self.ctx.stage = 'assessment'
        self.ctx.unfinished = {}
        rows = self._random_rows()
        self.ctx.rows = rows
        self.ctx.legs = [leg.pk for leg in self._explored()]
        tunings = [name for name in self.ctx.models if name not in FRACTIONS]
        self.ctx.candidate = tunings[0] if tunings else None
        self.ctx.assessed = {}
        if self.ctx.candidate is None:
            return
        self.ctx.assessed = {FORMER: self.ctx.model.pk, **self.ctx.models}
        self.ctx.waiting = sorted(self.ctx.assessed)

    def _random_rows(self) -> dict[str, list[int]]:
        """Return the indices of all test rows, and of the calibration rows of this round."""
        rows = self.ctx.dataset.rows()
        found: dict[str, list[int]] = {'test': [], 'calibration': []}
        for index, row in enumerate(rows):
            role = row.key_value_pairs.get('role')
            if role == 'test' or (role == 'calibration' and row.key_value_pairs.get('round') == self.ctx.round):
                found[role].append(index)
        return found

    def _explored(self) -> list[orm.TrajectoryData]:
        """Return the legs that were explored in this round."""
        query = orm.QueryBuilder().append(orm.WorkChainNode, filters={'id': self.ctx.exploring.pk}, tag='dataset')
        query.append(
            orm.WorkChainNode, with_incoming='dataset', filters={'process_type': EXPLORATION}, tag='exploration'
        )
        query.append(orm.TrajectoryData, with_incoming='exploration')
        return sort_trajectories(query.distinct().all(flat=True))

    def submit_assessment(self, name: str) -> orm.CalcJobNode:
        """Submit the assessment of a model, or take it from the cache."""
        inputs = self.inputs_of_code()
        inputs |= {
            'model': orm.load_node(self.ctx.assessed[name]),
            'dataset': self.ctx.dataset,
            'rows': orm.List(self._rows_of(name)),
        }
        inputs['metadata']['call_link_label'] = self.link_label(f'assess_{name}')
        if name not in (FORMER, *FRACTIONS):
            legs = [orm.load_node(pk) for pk in self.ctx.legs]
            inputs['legs'], inputs['seeds'] = link_labels('trajectory', legs), dict(self.ctx.exploring.outputs.seeds)
        if name in (FORMER, self.ctx.candidate):
            inputs |= {**self._hot_runs(), 'hot_runs': self.inputs.hot_runs, 'random_seed': self.inputs.random_seed}
        if name == self.ctx.candidate or (name == FORMER and 'starting' not in self.ctx):
            inputs['elements'] = self.inputs.elements
            if (structures := self._other_chemistry()) is not None:
                inputs['other_chemistry'] = structures
        if name in self.ctx.unfinished:
            inputs['unfinished'] = orm.load_node(self.ctx.unfinished[name])
        with use_cache('mlip_autopipe.assess', self.inputs.reuse_finished):
            return self.submit(AssessmentCalculation, **inputs)

    def inputs_of_code(self) -> dict[str, Any]:
        """Return the inputs of all assessments, which run with the code of the trainer."""
        training = self.exposed_inputs(TrainingCalculation, 'training')
        found: dict[str, Any] = {key: training[key] for key in OF_THE_CODE if key in training}
        found['assessment_version'] = orm.Str(ASSESSMENT_VERSION)
        options = training['metadata']['options']
        found['metadata'] = {'options': {name: one for name, one in options.items() if name != 'parser_name'}}
        return found

    def _rows_of(self, name: str) -> list[int]:
        """Return the rows on which a model is assessed: for a part of the labels, only those of the test set."""
        of_calibration = [] if name in FRACTIONS else self.ctx.rows['calibration']
        return [*self.ctx.rows['test'], *of_calibration]

    def _hot_runs(self) -> dict[str, Any]:
        """Return the seeds of the hot runs, which belong to the test set and are the same for all models of a round."""
        rows = self.ctx.dataset.rows()
        names = sorted(
            {rows[index].key_value_pairs['seed'].removeprefix(SEED_PREFIX) for index in self.ctx.rows['test']}
        )
        make_rng(self.inputs.random_seed.value, 'hot runs').shuffle(names)
        seeds = {node.seed_id: node for node in self.ctx.exploring.outputs.seeds.values()}
        chosen = [name for name in names if name in seeds][: self.inputs.rounds['hot_runs']['n_runs']]
        return {'hot_seeds': {f'seed_{name}': seeds[name] for name in chosen}}

    def _other_chemistry(self) -> orm.Data | None:
        """Return the structures on which the drift is measured; None if they cannot be made."""
        if 'drift' in self.ctx:
            return self.ctx.drift
        supported = self.inputs.training.model.base.attributes.get('elements')
        outputs, node = self.call(
            make_drift_structures,
            elements=self.inputs.elements,
            n_structures=orm.Int(N_DRIFT),
            random_seed=self.inputs.random_seed,
            stage_version=orm.Str(REPLAY_VERSION),
            **({} if supported is None else {'supported': orm.List(sorted(supported))}),
        )
        self.ctx.drift = outputs if node.is_finished_ok else None
        if self.ctx.drift is None:
            self.report(f'the drift for other chemical systems is not measured: {node.exit_message}')
        return self.ctx.drift

    def runs_again(self, label: str, node: orm.ProcessNode) -> bool:
        """Continue an assessment that was stopped, and submit a lost one again."""
        if self.ctx.stage == 'assessment' and node.exit_status in CONTINUED and 'unfinished' in node.outputs:
            n = self.ctx.n_again.get(label, 0) + 1
            if not self._is_stop_requested() and n < self.inputs.max_training_jobs.value:
                self.ctx.n_again[label] = n
                self.ctx.unfinished[label] = node.outputs.unfinished.pk
                return True
        return super().runs_again(label, node)

    def link_label(self, label: str) -> str:
        """Return a unique label for the link to the next child process with this label."""
        n = self.ctx.n_again.get(label.removeprefix('assess_'), 0)
        return super().link_label(f'{label}_continued_{n}' if n else label)

    def start_empty(self) -> None:
        """Start with no waiting, running or ended children."""
        super().start_empty()
        # Number of jobs that continued another one, by label.
        self.ctx.n_again = {}

    def keep_assessments(self) -> None:
        """Output the assessments of the models."""
        self.ctx.assessments = {}
        for name, pk in sorted(self.ctx.ended.items()):
            node = orm.load_node(pk)
            if 'assessment' not in node.outputs:
                self.ctx.failures[f'assessment of {name}'] = node.exit_message or node.process_state.value
                continue
            self.ctx.assessments[name] = node.outputs.assessment
            self.out(f'rounds.round_{self.ctx.round}.assessments.{name}', node.outputs.assessment)
        if 'starting' not in self.ctx and FORMER in self.ctx.assessments:
            self.ctx.starting = self.ctx.assessments[FORMER]

    def _trained(self) -> dict[str, orm.Data]:
        """Return the new models, which differ in random seed and sets."""
        return {name: orm.load_node(pk) for name, pk in self.ctx.models.items() if name not in FRACTIONS}

    def _compared(self) -> dict[str, orm.ArrayData]:
        """Return the assessments of the new models, which differ in random seed and sets."""
        names = [f'tuning_{number}' for number in range(N_TUNINGS)]
        return {name: self.ctx.assessments[name] for name in names if name in self.ctx.assessments}
