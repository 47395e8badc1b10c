"""Describe what made a row as lines of text, one group for each stage."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from aiida_mlip_autopipe.campaigns.provenance.traced import (
    Trace,
    TracedConfig,
    TracedFrame,
    TracedJob,
    TracedLabels,
    TracedRow,
    TracedSeed,
    TracedSelection,
)
from aiida_mlip_autopipe.core.wording import counted

# The name of the version of this package.
_PACKAGE = 'package'


@dataclass(frozen=True)
class Stage:
    """The description of one stage.

    Attributes
    ----------
    title
        The stage.
    lines
        What happened there.
    """

    title: str
    lines: tuple[str, ...]


def describe_trace(trace: Trace) -> tuple[Stage, ...]:
    """Return the description of each stage, from the row back to the config."""
    jobs: list[Stage] = []
    leg = 1
    for job in trace.jobs:
        jobs.insert(0, Stage('job' if len(trace.jobs) == 1 else f'job of leg {leg}', (*_describe_job(job),)))
        leg += job.exit_status is not None  # a killed job, and the job that recovers its files, make one leg
    repeated = [f'job {one.pk} left no frames: {one.reason}' for one in trace.repeated_jobs]
    return (
        Stage('row', tuple(_describe_row(trace.row))),
        *([] if trace.labels is None else [Stage('labels', tuple(_describe_labels(trace.labels)))]),
        Stage('selection', tuple(_describe_selection(trace.selection))),
        Stage('frame', tuple(_describe_frame(trace.frame))),
        *jobs,
        *([Stage('repeated jobs', tuple(repeated))] if repeated else []),
        Stage('seed', tuple(_describe_seed(trace.seed))),
        Stage('config', tuple(_describe_config(trace.config))),
    )


def _describe_row(row: TracedRow) -> Iterator[str]:
    name = row.formula if row.id is None else f'row {row.id}: {row.formula}'
    energy = '' if row.energy_eV is None else f', energy {row.energy_eV:.6f} eV'
    yield f'{name}, {counted(row.n_atoms, "atom")}{energy}, labels {row.label_source}'
    yield f'dataset {row.dataset}' if row.dataset else 'the profile contains no dataset with this row'


def _describe_labels(labels: TracedLabels) -> Iterator[str]:
    yield f'level of theory {labels.level}, {labels.level_hash}'
    attempts = labels.record.get('attempts') or ()
    for number, attempt in enumerate(attempts, 1):
        change = attempt.get('change') or 'unchanged settings'
        how = 'converged' if attempt.get('converged') else f'failed: {attempt.get("message") or "no reason given"}'
        yield f'attempt {number}, {change}: {how}, {attempt.get("seconds", 0):.1f} s'
    if labels.record.get('seconds') is not None:
        yield f'{labels.record["seconds"]:.1f} s on {counted(labels.record["threads"], "thread")}'
    if labels.uuid:
        yield f'labels {labels.uuid}'
    if labels.job is None:
        yield 'the profile does not contain the process that computed them'
    else:
        yield from _describe_job(labels.job)


def _describe_selection(selection: TracedSelection | None) -> Iterator[str]:
    if selection is None:
        yield 'the profile does not contain it'
        return
    yield (
        f'number {selection.rank + 1} of {selection.n_selected} selected from '
        f'{counted(selection.n_candidates, "candidate")} by the sampler {selection.sampler}'
    )
    measures = {'distance': selection.distance, 'gain': selection.gain}
    known = [f'{name} {value:.4g}' for name, value in measures.items() if value is not None]
    if selection.split:
        known.append(f'set {selection.split}')
    if selection.committee_force_disagreement_eV_A is not None:
        known.append(f'disagreement of the committee {selection.committee_force_disagreement_eV_A:.4g} eV/Å')
    if known:
        yield ', '.join(known)
    yield f'settings {_compact(selection.settings)}'
    yield f'selection {selection.uuid}'


def _describe_frame(frame: TracedFrame) -> Iterator[str]:
    actual = '' if frame.temperature_K is None else f', {frame.temperature_K:.1f} K'
    target = '' if frame.target_temperature_K is None else f' (thermostat {frame.target_temperature_K:g} K)'
    yield f'step {frame.step}, ensemble {frame.ensemble}{actual}{target}'
    yield f'frame {frame.index + 1} of {frame.n_frames} of trajectory {frame.trajectory}'


def _describe_job(job: TracedJob) -> Iterator[str]:
    steps = '' if job.first_step is None else f', steps {job.first_step} to {job.last_step}'
    recoveries = f', after {job.recoveries} recoveries' if job.recoveries > 1 else ''
    recoveries = ', after 1 recovery' if job.recoveries == 1 else recoveries
    status = 'did not finish' if job.exit_status is None else f'exit code {job.exit_status}'
    outcome = f' ({job.outcome.replace("_", " ")})' if job.outcome else ''
    yield f'{job.process} {job.pk}, {status}{outcome}{steps}{recoveries}'
    where = [f'on {job.computer}' if job.computer else '', f'scheduler id {job.job_id}' if job.job_id else '']
    where += [f'code {job.code}' if job.code else '', f'{job.started.astimezone():%Y-%m-%d %H:%M}']
    yield ', '.join(filter(None, where))
    if job.calculator:
        model = f', model {job.model}' if job.model else ''
        yield f'calculator {job.calculator}{model}'
    for name, sha256 in (('model', job.model_sha256), ('image', job.image_sha256)):
        if sha256:
            yield f'sha256 of the {name} {sha256}'
    if job.versions:
        package = f'aiida-mlip-autopipe {job.versions[_PACKAGE]}' if _PACKAGE in job.versions else ''
        others = [f'{name} {version}' for name, version in job.versions.items() if name != _PACKAGE]
        yield ', '.join(filter(None, (package, *others)))
    if job.environment:
        yield f'{job.environment.get("device") or "no device"}, {counted(job.environment["threads"], "thread")}'
    for event in job.events:
        yield f'event {event.get("rule")}: {event.get("message")}'
    yield f'uuid {job.uuid}'


def _describe_seed(seed: TracedSeed) -> Iterator[str]:
    label = f', label {seed.label}' if seed.label else ''
    parent = f', parent {seed.parent}' if seed.parent else ''
    yield f'seed {seed.seed_id}, kind {seed.kind or "unknown"}{label}{parent}'
    yield f'record {_compact(seed.record, omit=("kind", "label", "parent", "perturbation"))}'
    if 'perturbation' in seed.record:
        yield f'perturbation {_compact(seed.record["perturbation"])}'
    if seed.made_by is None:
        yield 'the profile does not contain the calculation that made it'
        return
    settings = dict(seed.settings or {})
    yield f'made from generation[{seed.entry}]: {_compact(settings, omit=("validation",))}'
    if 'validation' in settings:
        yield f'validation {_compact(settings["validation"])}'
    rejected = [f'{n} by {rule}' for rule, n in seed.n_rejected_by_rule.items()]
    yield (
        f'seeds of this entry in the same calculation: {seed.n_made} of {seed.n_requested} made, duplicates '
        f'{seed.n_duplicate}, skipped {seed.n_skipped}; rejected draws: {", ".join(rejected) or "none"}'
    )


def _describe_config(config: TracedConfig) -> Iterator[str]:
    where = f', id {config.pk}' if config.pk else ', which the profile does not contain'
    yield f'campaign {config.campaign}{where}'
    yield f'random seed {config.random_seed}, sha256 of the config {config.config_sha256}'
    if config.uuid:
        yield f'uuid {config.uuid}'
    if config.extends:
        yield f'extends campaign {_compact(config.extends)}'


def _compact(value: Any, omit: tuple[str, ...] = ()) -> str:
    """Return settings on one line, without those that are empty."""
    return json.dumps(_without_empty(value, omit), ensure_ascii=False).replace('"', '')


def _without_empty(value: Any, omit: tuple[str, ...] = ()) -> Any:
    if not isinstance(value, Mapping):
        return value
    kept = {name: _without_empty(one) for name, one in value.items() if name not in omit}
    return {name: one for name, one in kept.items() if one is not None and one not in ({}, [], '')}
