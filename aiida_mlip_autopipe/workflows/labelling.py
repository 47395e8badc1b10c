"""The work chain that labels the structures of a dataset with a reference method."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.engine import ExitCode, while_
from ase import Atoms

from aiida_mlip_autopipe.aiida_internals import WorkChainSpec
from aiida_mlip_autopipe.calculations import validators
from aiida_mlip_autopipe.calculations.labelling.attach_labels import ATTACH_VERSION, attach_labels
from aiida_mlip_autopipe.calculations.labelling.decisions import (
    choose_repeats,
    collect_labels,
    find_suspicions,
    read_settings,
    screen_rows,
)
from aiida_mlip_autopipe.calculations.labelling.label import LabellingCalculation
from aiida_mlip_autopipe.calculations.processes.base import PROCESSES_VERSION
from aiida_mlip_autopipe.core.wording import counted
from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.data.labels import LabelsData, find_failures, find_isolated_atoms, find_labels
from aiida_mlip_autopipe.labelling import LabellingSettings, Variation, label_key
from aiida_mlip_autopipe.labelling.contract import isolated_atom_message
from aiida_mlip_autopipe.labelling.cost import RULE_BUDGET, Calibration, modelled, predict_labels
from aiida_mlip_autopipe.structures.rows.level import LevelOfTheory, describe_difference
from aiida_mlip_autopipe.workflows.graph import LABELLING_COUNTS
from aiida_mlip_autopipe.workflows.legs.killed_labels import RecoveredLabels
from aiida_mlip_autopipe.workflows.lost_jobs import INTERRUPTED, LOST, MAX_LOST, RULE_OF_STRUCTURE, lost_message
from aiida_mlip_autopipe.workflows.process_label import ProcessLabellingWorkChain

# The prefix of the labels of jobs that compute isolated atoms.
ISOLATED_ATOMS = 'isolated_atoms'
# Exit codes of a process that could compute none of its isolated atoms. The structures keep their labels.
NO_ISOLATED_ATOM = {
    ProcessLabellingWorkChain.exit_codes.ERROR_ISOLATED_ATOM.status,
    LabellingCalculation.exit_codes.ERROR_NO_FRAME.status,
}
KILLED = LabellingCalculation.exit_codes.ERROR_KILLED.status


class LabellingWorkChain(RecoveredLabels):
    """Labels the structures of a dataset. A structure that has a label at this level of theory is not computed again.

    A job that ends before its last structure keeps the labels that it has computed, and another job computes the rest.
    """

    @classmethod
    def define(cls, spec: WorkChainSpec) -> None:
        """Define inputs, outputs, the outline and exit codes."""
        super().define(spec)
        spec.input('dataset', valid_type=DatasetData, help='The structures, in a database of this program.')
        spec.input('settings', valid_type=orm.Dict, help='Which structures are labelled, and which labels are kept.')
        spec.input('level', valid_type=orm.Dict, help='The level of theory of the labels.')
        optional = {'required': False, 'populate_defaults': False}
        spec.expose_inputs(
            LabellingCalculation,
            namespace='job',
            exclude=('dataset', 'rows', 'level'),
            namespace_options=dict(optional),
        )
        spec.expose_inputs(
            ProcessLabellingWorkChain,
            namespace='plugin',
            exclude=('dataset', 'item', 'variant'),
            namespace_options={**optional, 'help': 'The process of another plugin, instead of `job`.'},
        )
        for name, valid_type, text, default in (
            ('structures_per_job', int, 'Maximum number of structures per job.', {}),
            ('max_concurrent_jobs', int, 'Maximum number of jobs that run at the same time.', {}),
            ('reuse_finished', bool, 'Reuse the labels in the profile.', {'default': False}),
            ('retry_failed', bool, 'Recompute structures that failed in an earlier run.', {'default': False}),
            ('calibration', dict, 'The fields of `Calibration`, for the budget.', {'required': False}),
        ):
            spec.input(name, valid_type=valid_type, is_metadata=True, help=text, **default)
        validators.set_validators(spec.inputs, validators.LABELLING)
        spec.output('dataset', valid_type=DatasetData, help='The dataset with the new labels.')
        spec.output_namespace('labels', valid_type=LabelsData, help='The labels, for each job.')
        spec.output_namespace('repeats', valid_type=LabelsData, help='Labels that were recomputed.')
        spec.output('report', valid_type=orm.Dict, help='The numbers of labels, and why rows were left out.')
        spec.exit_code(400, 'ERROR_JOB', message='A labelling job failed: {reason}')
        spec.exit_code(401, 'ERROR_NO_LABELS', message='The labels cannot be attached: {reason}')
        spec.exit_code(402, 'ERROR_LEVEL', message='A job computed labels at another level of theory: {reason}')
        spec.exit_code(405, 'ERROR_STOPPED', message='Stopped by a user; all labels are kept.')
        spec.outline(
            cls.queue_recoveries,
            while_(cls.has_unfinished)(cls.fill_slots),
            cls.plan,
            while_(cls.has_unfinished)(cls.fill_slots),
            cls.plan_repeats,
            while_(cls.has_unfinished)(cls.fill_slots),
            cls.attach,
        )

    @property
    def level(self) -> LevelOfTheory:
        """The level of theory of the labels."""
        return LevelOfTheory.model_validate(self.inputs.level.get_dict())

    @property
    def method_version(self) -> str:
        """The version of the method that computes the labels; labels of other versions are not reused."""
        return PROCESSES_VERSION if 'plugin' in self.inputs else str(self.inputs.job.labelling_version.value)

    @property
    def settings(self) -> LabellingSettings:
        """Which structures are labelled, and which labels are kept."""
        return read_settings(self.inputs.settings)

    def plan(self) -> None:
        """Discard structures that must not be labelled, look up known labels, and distribute the rest over jobs."""
        self.start_empty()
        # What each job computes: rows of the dataset, by index, or isolated atoms, by symbol.
        self.ctx.jobs = {}
        # What the jobs that repeat labels change, by the label of the job.
        self.ctx.variations = {}
        # The structures and atoms that a killed job was computing.
        self.ctx.suspects = []
        # Number of jobs that continued another one.
        self.ctx.n_again = {}
        self.ctx.labels, self.ctx.repeats = [], []
        # Why structures have no label, by key, if no job could record it.
        self.ctx.failures = {'labels': {}, 'repeats': {}}
        self.ctx.exit_code = None
        rows = self.inputs.dataset.rows()
        kept = screen_rows(rows, self.settings).kept
        self.ctx.label_keys = {index: label_key(rows[index].atoms, self.level.hash) for index in kept}
        missing, self.ctx.n_known = self._find_missing(self.ctx.label_keys)
        atoms = self._find_missing_atoms({symbol for index in kept for symbol in rows[index].atoms.symbols})
        affordable = self._keep_within_budget(missing, atoms, [rows[index].atoms for index in missing])
        self._queue('labels', affordable, self.inputs.structures_per_job)
        self._queue(ISOLATED_ATOMS, atoms, 1 if 'plugin' in self.inputs else len(atoms) or 1)
        n_structures = len(set(self.ctx.label_keys.values()))
        known = {'n_known': self.ctx.n_known, 'n_failed_before': self.ctx.n_failed_before}
        self.node.base.extras.set(LABELLING_COUNTS, {'n_structures': n_structures, **known})
        self.report(
            f'structures to label: {n_structures} in {len(kept)} of {counted(len(rows), "row")}; known labels: '
            f'{self.ctx.n_known}; failed in earlier runs: {self.ctx.n_failed_before}; jobs: {len(self.ctx.jobs)}'
        )

    def _keep_within_budget(self, missing: list[int], atoms: list[str], structures: list[Atoms]) -> list[int]:
        """Return the rows whose structures the budget allows, and record why the others have no label."""
        if self.settings.budget_core_hours is None:
            return missing
        calculator = None if 'plugin' in self.inputs else modelled(self.inputs.job.calculator.get_dict())
        prediction = predict_labels(
            structures,
            calculator,
            Calibration(**self.inputs.get('calibration', {})),
            isolated_atoms=atoms,
            budget_core_hours=self.settings.budget_core_hours,
        )
        if prediction is None:
            return missing
        for found in prediction.screening.left_out.get(RULE_BUDGET, ()):
            reason = f'its predicted cost is {found.value:.3g} core hours; the budget has {found.limit:.3g} left'
            self.ctx.failures['labels'][self._key(missing[found.index])] = {'rule': RULE_BUDGET, 'reason': reason}
        return [missing[place] for place in prediction.screening.kept]

    def plan_repeats(self) -> None:
        """Recompute suspicious labels."""
        if self.ctx.exit_code is not None or self._is_stop_requested():
            return
        found = collect_labels(self._nodes(self.ctx.labels), self.ctx.failures['labels'])
        rows = self.inputs.dataset.rows()
        repeats = choose_repeats(rows, find_suspicions(rows, self.ctx.label_keys, found), self.settings)
        for variation in sorted(set(repeats.values())):
            of_this = [index for index, one in repeats.items() if one == variation]
            missing, _ = self._find_missing({index: self.ctx.label_keys[index] for index in of_this}, variation)
            self._queue(f'repeats_{variation}', missing, self.inputs.structures_per_job, variation)
        if repeats:
            self.report(f'suspicious labels that are recomputed: {len(repeats)}')

    def _find_missing(self, keys: dict[int, str], variation: Variation = '') -> tuple[list[int], int]:
        """Keep the known labels of some rows; return the rows that must be computed, and the number of known labels.

        Failures that would happen again are kept, too, unless they are to be computed again.
        """
        wanted, known, failed = set(keys.values()), {}, {}
        if self.inputs.reuse_finished:
            known = find_labels(wanted, self.level.hash, self.method_version, variant=variation)
        if self.inputs.reuse_finished and not self.inputs.retry_failed:
            missing_keys = wanted - known.keys()
            failed = find_failures(missing_keys, self.level.hash, self.method_version, variant=variation)
        for node in {node.pk: node for node, _ in (*known.values(), *failed.values())}.values():
            self._keep(node)
        if not variation:
            self.ctx.n_failed_before = len(failed)
        # Rows with the same structure share one label.
        first = {key: index for index, key in reversed(keys.items())}
        missing = sorted(index for key, index in first.items() if key not in known and key not in failed)
        return missing, len(known)

    def _queue(self, name: str, items: list[Any], size: int, variation: Variation = '') -> None:
        """Queue jobs, each of which computes at most a number of items."""
        for number, start in enumerate(range(0, len(items), size)):
            label = f'{name}_{number}'
            self.ctx.jobs[label] = items[start : start + size]
            self.ctx.variations[label] = variation
            self.ctx.waiting.append(label)

    def _find_missing_atoms(self, symbols: set[str]) -> list[str]:
        """Keep the known energies of isolated atoms, and return the atoms that must be computed."""
        if not self.settings.isolated_atoms:
            return []
        known = find_isolated_atoms(symbols, self.level.hash, self.method_version) if self.inputs.reuse_finished else {}
        for node in {node.pk: node for node in known.values()}.values():
            self._keep(node)
        return sorted(symbols - known.keys())

    def submit_job(self, label: str) -> orm.ProcessNode:
        """Submit a job of this program for many structures, or the process of another plugin for one."""
        items, variation = self.ctx.jobs[label], self.ctx.variations[label]
        metadata = {'call_link_label': self.link_label(label)}
        if 'plugin' in self.inputs:
            (item,) = items
            inputs = self.exposed_inputs(ProcessLabellingWorkChain, 'plugin')
            inputs.dataset, inputs.item = self.inputs.dataset, orm.to_aiida_type(item)
            inputs.variant, inputs.metadata = orm.Str(variation), metadata
            return self.submit(ProcessLabellingWorkChain, inputs)
        inputs = self.exposed_inputs(LabellingCalculation, 'job')
        inputs.dataset, inputs.level = self.inputs.dataset, self.inputs.level
        inputs.rows = orm.List([item for item in items if isinstance(item, int)])
        atoms = [item for item in items if isinstance(item, str)]
        inputs.request = orm.Dict(inputs.request.get_dict() | {'isolated_atoms': atoms, 'variant': variation})
        inputs.metadata.update(metadata)
        return self.submit(LabellingCalculation, inputs)

    def link_label(self, label: str) -> str:
        """Return a unique label for the link to the next job of a label."""
        n = self.ctx.n_again.get(label, 0)
        return f'{label}_again_{n}' if n else label

    def job_runs_again(self, label: str, node: orm.ProcessNode) -> bool:
        """Keep the labels of a job that has ended, and return whether another job computes the rest."""
        items, done = self.ctx.jobs[label], self._keep_outputs(node)
        rest = [item for item in items if self._key(item) not in done]
        if label.startswith(ISOLATED_ATOMS) and (node.is_finished_ok or node.exit_status in NO_ISOLATED_ATOM):
            self._record_isolated_atoms(rest, node)
            return False
        if node.is_finished_ok or not rest or self.ctx.exit_code is not None or self._is_stop_requested():
            return False
        n_lost = self.ctx.n_lost.pop(label, 0)
        if node.exit_status == KILLED:
            again = self._suspect(label, rest[0], node) or self._give_up(label, rest.pop(0), node)
        elif len(rest) < len(items):
            again = node.exit_status in INTERRUPTED
        elif node.exit_status in LOST and n_lost < MAX_LOST:
            self.report(lost_message(node))
            self.ctx.n_lost[label] = n_lost + 1
            again = True
        else:
            again = self._give_up(label, rest.pop(0), node)
        if not again:
            self._fail(self.exit_codes.ERROR_JOB.format(reason=f'job {node.pk}: {node.exit_message}'))
            return False
        if rest:
            self.ctx.n_again[label] = self.ctx.n_again.get(label, 0) + 1
            self.ctx.jobs[label] = rest
        return bool(rest)

    def _record_isolated_atoms(self, symbols: list[str], node: orm.ProcessNode) -> None:
        """Record why a process could not compute isolated atoms."""
        events = node.outputs.result['events'] if 'result' in node.outputs else []
        messages = [event['message'] for event in events]
        for symbol in symbols:
            own = (one for one in messages if one.startswith(isolated_atom_message(symbol, '')))
            reason = next(own, node.exit_message or isolated_atom_message(symbol, 'its job gives no reason'))
            self.ctx.failures['labels'][symbol] = {'rule': 'raised', 'reason': reason}
            self.report(f'process {node.pk}: {reason}')

    def _key(self, item: int | str) -> str:
        """Return what identifies a result in a node of labels: the key of a structure, or the symbol of an atom."""
        return self.ctx.label_keys[item] if isinstance(item, int) else item

    def _keep_outputs(self, node: orm.ProcessNode) -> set[str]:
        """Keep the labels of a job, and return their keys and the symbols of its isolated atoms."""
        if 'labels' not in node.outputs:
            return set()
        labels: LabelsData = node.outputs.labels
        if labels.level.hash != self.level.hash:
            reason = describe_difference(self.level, labels.level)
            self._fail(self.exit_codes.ERROR_LEVEL.format(reason=f'job {node.pk}: {reason}'))
            return set()
        self._keep(labels)
        return {*labels.keys, *labels.isolated_atom_energies_eV}

    def _keep(self, labels: LabelsData) -> None:
        """Output labels. They are attached to the rows after all jobs have ended."""
        kind = 'repeats' if labels.base.attributes.get('variant') else 'labels'
        kept = self.ctx[kind]
        if labels.pk not in kept:
            kept.append(labels.pk)
            self.out(f'{kind}.{kind}_{len(kept):04d}', labels)

    def _suspect(self, label: str, item: int | str, node: orm.ProcessNode) -> bool:
        """Remember what a killed job was computing; return whether no other job was killed while computing it."""
        suspect = f'{self.ctx.variations[label]} {self._key(item)}'
        if suspect in self.ctx.suspects:
            return False
        self.ctx.suspects.append(suspect)
        self.report(f'job {node.pk} was killed while it was computing {self._key(item)}; trying once more')
        return True

    def _give_up(self, label: str, item: int | str, node: orm.ProcessNode) -> bool:
        """Record a structure as failed if it may be the reason why its job ended; return whether this is so."""
        rule = RULE_OF_STRUCTURE.get(node.exit_status)
        if rule is None:
            return False
        reason = f'job {node.pk} ended while it was computing this structure: {node.exit_message}'
        kind = 'repeats' if self.ctx.variations[label] else 'labels'
        self.ctx.failures[kind][self._key(item)] = {'rule': rule, 'reason': reason}
        self.report(reason)
        return True

    def _nodes(self, pks: list[int]) -> list[LabelsData]:
        return [orm.load_node(pk) for pk in pks]

    def _fail(self, exit_code: ExitCode) -> None:
        """Submit no further jobs. The work chain fails after those that are running."""
        self.ctx.exit_code = exit_code
        self.ctx.waiting = []

    def attach(self) -> ExitCode | None:
        """Write the dataset with the new labels, unless a job failed or the run was stopped."""
        if self._is_stop_requested():
            return self.exit_codes.ERROR_STOPPED
        if self.ctx.exit_code is not None:
            return self.ctx.exit_code
        outputs, node = self.call(
            attach_labels,
            dataset=self.inputs.dataset,
            settings=self.inputs.settings,
            level=self.inputs.level,
            failures=orm.Dict(self.ctx.failures),
            n_known=orm.Int(self.ctx.n_known),
            n_failed_before=orm.Int(self.ctx.n_failed_before),
            stage_version=orm.Str(ATTACH_VERSION),
            **{
                kind: {f'{kind}_{number:04d}': node for number, node in enumerate(self._nodes(self.ctx[kind]))}
                for kind in ('labels', 'repeats')
            },
        )
        if not node.is_finished_ok:
            return self.exit_codes.ERROR_NO_LABELS.format(reason=node.exit_message)
        self.out_many(outputs)
        return None
