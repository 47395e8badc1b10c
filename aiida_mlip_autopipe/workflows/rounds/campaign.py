"""The work chain of a campaign with rounds: explore, label, train, and explore again with the new model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aiida import orm
from aiida.engine import ExitCode, ProcessBuilder, ToContext, while_

from aiida_mlip_autopipe.aiida_internals import WorkChainSpec
from aiida_mlip_autopipe.calculations.rounds.calibrate_bounds import BOUNDS_VERSION, calibrate_bounds
from aiida_mlip_autopipe.calculations.rounds.compare_models import COMPARE_VERSION, compare_models
from aiida_mlip_autopipe.calculations.rounds.decide_round import DECIDE_VERSION, decide_round
from aiida_mlip_autopipe.calculations.rounds.estimate_number_of_labels import (
    ESTIMATE_VERSION,
    estimate_number_of_labels,
)
from aiida_mlip_autopipe.calculations.rounds.judge_model import JUDGE_VERSION, judge_model
from aiida_mlip_autopipe.calculations.rounds.measure_bounds import COVERAGE_VERSION, measure_bounds
from aiida_mlip_autopipe.calculations.rounds.merge_rounds import MERGE_VERSION, merge_rounds
from aiida_mlip_autopipe.config import CampaignConfig, load_config
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.data.trajectory import trajectory_id
from aiida_mlip_autopipe.workflows.dataset import DatasetWorkChain
from aiida_mlip_autopipe.workflows.inputs.environments import Notify
from aiida_mlip_autopipe.workflows.inputs.rounds import rounds_inputs
from aiida_mlip_autopipe.workflows.rounds.assessments import FORMER, RoundAssessments
from aiida_mlip_autopipe.workflows.rounds.trainings import FRACTIONS

RESULTS = ('judgement', 'bounds', 'coverage', 'label_estimate')
"""The results of calculations that are part of the report of a round."""


class CampaignWorkChain(RoundAssessments):
    """Repeats rounds until the model is good enough, more labels do not help, or the label budget is spent.

    Each round fine-tunes the same starting model on all labels so far. A model that fails its tests, or a training run
    that fails, is recorded, and the next round explores with the previous model.
    """

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:
        """Define the outline, which shows the stages of a round."""
        super().define(spec)
        spec.outline(
            cls.setup,
            while_(cls.has_next_round)(
                cls.make_dataset,
                cls.merge_rows,
                cls.plan_trainings,
                while_(cls.has_unfinished)(cls.fill_slots),
                cls.keep_models,
                cls.plan_assessments,
                while_(cls.has_unfinished)(cls.fill_slots),
                cls.judge_model,
                cls.decide,
            ),
            cls.end,
        )

    @classmethod
    def get_builder_from_config(
        cls, config: CampaignConfig | Path | str, overrides: Sequence[str] = (), notify: Notify = print
    ) -> ProcessBuilder:
        """Return a builder with all inputs of a campaign with rounds; see `DatasetWorkChain.get_builder_from_config`.

        Raises
        ------
        ConfigError
            With all errors of the file.
        AutopipeError
            For any of the reasons given in `rounds_inputs`.
        """
        if not isinstance(config, CampaignConfig):
            config = load_config(config, overrides)
        elif overrides:
            raise AutopipeError(
                Code.VALUES_EXCLUDE, 'overrides change a config file and cannot change a validated config'
            )
        builder = cls.get_builder()
        for name, value in rounds_inputs(config, notify).items():
            setattr(builder, name, value)
        builder.metadata.label = config.name
        return builder

    def setup(self) -> None:
        """Start before the first round, with the starting model."""
        self.start_empty()
        self.ctx.round = 0
        self.ctx.reports = []
        self.ctx.n_labels = 0
        # The models of the previous round, which are compared on the frames that are explored next.
        self.ctx.tunings = {}
        # The bounds on the errors of the model that explores; None unless it was trained in the previous round.
        self.ctx.bounds = None
        self.ctx.model = self.inputs.training.model
        self.ctx.is_finished = False

    def has_next_round(self) -> bool:
        """Return whether another round follows; if so, count it."""
        if not self.ctx.is_finished:
            self.ctx.round += 1
        return not self.ctx.is_finished

    # Dataset

    def make_dataset(self) -> ToContext:
        """Explore with the current model, and label random and selected frames."""
        inputs = self.exposed_inputs(DatasetWorkChain)
        inputs['codes'] = {key: self._with_model(code) for key, code in inputs['codes'].items()}
        inputs['random_share'] = orm.Dict({'n_labels': self.inputs.rounds['random_labels'], 'round': self.ctx.round})
        if 'dataset' in self.ctx:
            inputs['reference_dataset'] = self.ctx.dataset
        if len(self.ctx.tunings) > 1:
            inputs['comparison'] = {**self.inputs_of_code(), 'models': self.ctx.tunings}
        inputs['metadata'] = {'call_link_label': f'round_{self.ctx.round}'}
        return ToContext(exploring=self.submit(DatasetWorkChain, **inputs))

    def _with_model(self, code: Any) -> dict[str, Any]:
        return {**code, 'model': self.ctx.model}

    def merge_rows(self) -> ExitCode | None:
        """Add the labelled rows to those of the earlier rounds."""
        node = self.ctx.exploring
        if not node.is_finished_ok:
            if self._is_stop_requested():
                return self._end(self.exit_codes.ERROR_STOPPED)
            return self._fail(node.exit_message or node.process_state.value)
        dataset = node.outputs.dataset
        if 'dataset' in self.ctx:
            outputs, merging = self.call(
                merge_rounds, earlier=self.ctx.dataset, dataset=dataset, stage_version=orm.Str(MERGE_VERSION)
            )
            if not merging.is_finished_ok:
                return self._fail(merging.exit_message)
            dataset = outputs['merged']
        self.ctx.dataset = dataset
        self.out(f'rounds.round_{self.ctx.round}.dataset', dataset)
        return None

    # Models

    def submit_one(self, label: str) -> orm.ProcessNode:
        """Submit a training run or an assessment."""
        return self.submit_training(label) if self.ctx.stage == 'training' else self.submit_assessment(label)

    def judge_model(self) -> ExitCode | None:
        """Decide whether the candidate replaces the previous model, and calibrate the bounds on its errors."""
        if self._is_stop_requested():
            return self._end(self.exit_codes.ERROR_STOPPED)
        self.keep_assessments()
        self.ctx.results = {}
        assessed, candidate = self.ctx.assessments, self.ctx.candidate
        if not {candidate, FORMER} <= assessed.keys():
            return None
        self._record('judgement', judge_model, **self._inputs_of_judgement(assessed[candidate]))
        compared = self._compared()
        if len(compared) > 1:
            self._calibrate(assessed[candidate], compared)
        if set(FRACTIONS) & assessed.keys():
            self._estimate_labels()
        if self.ctx.bounds is not None and 'uncertainties' in self.ctx.exploring.outputs:
            self._measure_coverage()
        return None

    def _measure_coverage(self) -> None:
        """Compare the bounds of the previous round with the new random labels."""
        rows = self.ctx.dataset.rows()
        new = [
            index
            for indices in self.ctx.rows.values()
            for index in indices
            if rows[index].key_value_pairs['round'] == self.ctx.round
        ]
        self._record(
            'coverage',
            measure_bounds,
            bounds=self.ctx.bounds,
            assessment=self.ctx.assessments[FORMER],
            uncertainties=self.ctx.exploring.outputs.uncertainties,
            drawn=self.ctx.exploring.outputs.random_share,
            dataset=self.ctx.dataset,
            rows=orm.List(sorted(new)),
            stage_version=orm.Str(COVERAGE_VERSION),
        )

    def _record(self, name: str, function: Any, **inputs: Any) -> orm.Data | None:
        """Run a calcfunction with one result. Record the result or, if it fails, the reason."""
        result, node = self.call(function, **inputs)
        if not node.is_finished_ok:
            self.ctx.failures[name] = node.exit_message
            return None
        self.ctx.results[name] = result
        return result

    def _inputs_of_judgement(self, new: orm.ArrayData) -> dict[str, Any]:
        inputs = {
            'new': new,
            'former': self.ctx.assessments[FORMER],
            'starting': self.ctx.starting,
            'dataset': self.ctx.dataset,
            'rows': orm.List(self.ctx.rows['test']),
            'random_seed': self.inputs.random_seed,
            'stage_version': orm.Str(JUDGE_VERSION),
        }
        if (bound := self.inputs.rounds['max_drift_eV_A']) is not None:
            inputs['max_drift_eV_A'] = orm.Float(bound)
        if self.ctx.model.sha256 == self.inputs.training.model.sha256:
            # The starting model does not contain the offsets of the labels.
            report = orm.load_node(self.ctx.reports_of_training[self.ctx.candidate])
            inputs['former_offsets_eV'] = orm.Dict(report['offsets_eV'])
        return inputs

    def _calibrate(self, candidate: orm.ArrayData, compared: dict[str, orm.ArrayData]) -> None:
        uncertainties = self._record(
            'comparison', compare_models, stage_version=orm.Str(COMPARE_VERSION), assessments=compared
        )
        if uncertainties is None:
            return
        kinds = {seed.seed_id: seed.base.attributes.get('kind') for seed in self.ctx.exploring.outputs.seeds.values()}
        legs = [orm.load_node(pk) for pk in self.ctx.legs]
        self._record(
            'bounds',
            calibrate_bounds,
            assessment=candidate,
            uncertainties=uncertainties,
            dataset=self.ctx.dataset,
            rows=orm.List(self.ctx.rows['calibration']),
            kinds=orm.Dict({trajectory_id(leg): kinds[leg.base.attributes.get('seed_id')] for leg in legs}),
            target=orm.Float(self.inputs.rounds['target_force_error_eV_A']),
            stage_version=orm.Str(BOUNDS_VERSION),
        )

    def _estimate_labels(self) -> None:
        names = [name for name in (*FRACTIONS, self.ctx.candidate) if name in self.ctx.assessments]
        assessed = {name: self.ctx.assessments[name] for name in names}
        trained = {name: orm.load_node(self.ctx.reports_of_training[name])['n_frames'] for name in assessed}
        self._record(
            'label_estimate',
            estimate_number_of_labels,
            dataset=self.ctx.dataset,
            rows=orm.List(self.ctx.rows['test']),
            n_labels=orm.Dict({name: n_frames['train'] + n_frames['valid'] for name, n_frames in trained.items()}),
            target=orm.Float(self.inputs.rounds['target_force_error_eV_A']),
            random_seed=self.inputs.random_seed,
            stage_version=orm.Str(ESTIMATE_VERSION),
            assessments=assessed,
        )

    def decide(self) -> None:
        """Report the round, use the candidate if it passed its tests, and decide whether another round follows."""
        number, results = self.ctx.round, self.ctx.results
        report: Any
        report, _ = self.call(
            decide_round,
            settings=self.inputs.rounds,
            facts=orm.Dict(self._facts()),
            stage_version=orm.Str(DECIDE_VERSION),
            earlier={f'round_{place}': orm.load_node(pk) for place, pk in enumerate(self.ctx.reports, start=1)},
            **{name: results[name] for name in RESULTS if name in results},
        )
        self.out(f'rounds.round_{number}.report', report)
        self.ctx.reports.append(report.pk)
        accepted = 'judgement' in results and results['judgement']['accepted']
        if accepted:
            self.ctx.model = orm.load_node(self.ctx.models[self.ctx.candidate])
        self.ctx.bounds = results.get('bounds') if accepted else None
        if len(models := self._trained()) > 1:
            self.ctx.tunings = models
        self.ctx.is_finished = report['decision']['reason'] is not None
        self.report(f'round {number}: {report["decision"]["message"]}')

    def _facts(self) -> dict[str, Any]:
        """Return what the report of the round contains besides the results of calculations."""
        labelling = self.ctx.exploring.outputs.labelling_report
        self.ctx.n_labels += labelling['n_structures']
        rounds, sampling = self.inputs.rounds, self.inputs.sampling
        return {
            'round': self.ctx.round,
            'n_labels': self.ctx.n_labels,
            'n_labels_of_round': labelling['n_structures'],
            'labels_per_round': rounds['random_labels'] + sampling['n_structures'],
            'candidate': self.ctx.candidate,
            'failures': dict(self.ctx.failures),
        }

    # End

    def end(self) -> None:
        """Output the dataset and the best model."""
        self._end(None)

    def _fail(self, reason: str) -> ExitCode:
        return self._end(self.exit_codes.ERROR_ROUND.format(number=self.ctx.round, reason=reason))

    def _end(self, exit_code: ExitCode | None) -> ExitCode | None:
        """Output the dataset and the model of the finished rounds."""
        if 'dataset' in self.ctx:
            self.out('dataset', self.ctx.dataset)
            self.out('model', self.ctx.model)
        return exit_code
