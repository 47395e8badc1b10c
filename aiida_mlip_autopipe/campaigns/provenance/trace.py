"""Read what made a row from its nodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida import orm

from aiida_mlip_autopipe.campaigns.provenance.origin import Origin
from aiida_mlip_autopipe.campaigns.provenance.traced import (
    RepeatedJob,
    Trace,
    TracedConfig,
    TracedFrame,
    TracedJob,
    TracedLabels,
    TracedRow,
    TracedSeed,
    TracedSelection,
)
from aiida_mlip_autopipe.storage import Row
from aiida_mlip_autopipe.structures.rows.labels import LABELLING
from aiida_mlip_autopipe.workflows.graph import LEG_TYPES, input_of, output_of


def trace_row(origin: Origin) -> Trace:
    """Return what made a row as plain data."""
    row, provenance = origin.row, origin.row.provenance
    trajectory = origin.trajectory
    return Trace(
        row=TracedRow(
            id=row.id,
            formula=row.atoms.get_chemical_formula(),
            n_atoms=len(row.atoms),
            energy_eV=None if row.atoms.calc is None else float(row.labels['energy']),
            label_source=provenance.label_source,
            dataset=None if origin.dataset is None else origin.dataset.uuid,
        ),
        labels=_trace_labels(origin),
        selection=_trace_selection(origin),
        frame=TracedFrame(
            trajectory=trajectory.uuid,
            n_frames=len(trajectory.get_stepids()),
            index=origin.frame,
            step=provenance.step,
            ensemble=provenance.ensemble,
            temperature_K=provenance.temperature_K,
            target_temperature_K=provenance.target_temperature_K,
        ),
        jobs=tuple(map(_trace_job, origin.jobs)),
        repeated_jobs=_find_repeated(origin.jobs),
        seed=_trace_seed(origin),
        config=TracedConfig(
            campaign=provenance.campaign,
            pk=None if origin.campaign is None else origin.campaign.pk,
            uuid=None if origin.campaign is None else origin.campaign.uuid,
            config_sha256=provenance.config_sha256,
            random_seed=provenance.random_seed,
            extends=None if provenance.extends is None else provenance.extends.model_dump(),
            config=_config(origin),
        ),
    )


def _config(origin: Origin) -> dict[str, Any] | None:
    node = None if origin.campaign is None else input_of(origin.campaign, 'config')
    return None if node is None else dict(node.get_dict())


def _trace_selection(origin: Origin) -> TracedSelection | None:
    if origin.selection is None or origin.rank is None:
        return None
    provenance, process = origin.row.provenance, origin.selection.creator
    settings, report = input_of(process, 'settings').get_dict(), output_of(process, 'report').get_dict()
    return TracedSelection(
        uuid=origin.selection.uuid,
        made_by=process.uuid,
        rank=origin.rank,
        n_selected=report['n_selected'],
        n_candidates=report['n_candidates'],
        sampler=report['sampler'],
        settings=settings,
        distance=provenance.distance,
        gain=provenance.gain,
        split=provenance.split,
        committee_force_disagreement_eV_A=provenance.committee_force_disagreement_eV_A,
    )


def _trace_job(job: orm.ProcessNode) -> TracedJob:
    is_job = isinstance(job, orm.CalcJobNode)
    result = job.outputs.result.get_dict() if 'result' in job.outputs else {}
    environment = dict(result.get('environment') or {})
    versions = dict(result.get('versions') or {}) | {name: environment.get(name) for name in ('numpy', 'scipy')}
    model = job.inputs.model if 'model' in job.inputs else None
    return TracedJob(
        pk=job.pk,
        uuid=job.uuid,
        process=job.process_label or job.node_type,
        computer=None if job.computer is None else job.computer.label,
        code=job.inputs.code.full_label if 'code' in job.inputs else None,
        job_id=job.get_job_id() if is_job else None,
        folder=job.get_remote_workdir() if is_job else None,
        started=job.ctime,
        ended=job.mtime,
        exit_status=job.exit_status,
        outcome=result.get('outcome'),
        first_step=result.get('first_step'),
        last_step=result.get('last_step'),
        recoveries=job.inputs.recoveries.value if 'recoveries' in job.inputs else 0,
        calculator=result.get('calculator_name'),
        model=result.get('model_name'),
        model_sha256=result.get('model_sha256') or (None if model is None else model.base.attributes.get('sha256')),
        image_sha256=result.get('image_sha256'),
        versions={name: str(version) for name, version in versions.items() if version},
        environment=environment,
        events=tuple(result.get('events') or ()),
    )


def _find_repeated(jobs: tuple[orm.CalcJobNode, ...]) -> tuple[RepeatedJob, ...]:
    """Return the other jobs that the same explorations submitted before the last of these jobs."""
    known = {job.pk for job in jobs}
    callers = {caller.pk: caller for job in jobs if (caller := job.caller) is not None}
    return tuple(
        RepeatedJob(job.pk, job.uuid, job.exit_status, job.exit_message or str(job.process_state.value))
        for _, caller in sorted(callers.items())
        for job in sorted(caller.called, key=lambda one: one.pk)
        if job.process_type in LEG_TYPES and job.pk not in known and job.pk < jobs[-1].pk
    )


def _trace_seed(origin: Origin) -> TracedSeed:
    seed, generation = origin.seed, origin.generation
    record = seed.record
    entry = settings = None
    counts: Mapping[str, Any] = {}
    if generation is not None:
        *_, entry = output_of(generation, 'places').get_dict()[seed.seed_id]
        settings = input_of(generation, 'settings')['entries'][entry]
        counts = output_of(generation, 'report')['entries'].get(str(entry), {})
    if entry is not None and (config := _config(origin)) is not None:
        settings = config['generation'][entry]  # these settings contain the paths of files
    return TracedSeed(
        uuid=seed.uuid,
        seed_id=seed.seed_id,
        kind=record.get('kind'),
        label=record.get('label'),
        parent=record.get('parent'),
        record=record,
        made_by=None if generation is None else generation.uuid,
        entry=entry,
        settings=settings,
        n_requested=counts.get('requested', 0),
        n_made=counts.get('made', 0),
        n_duplicate=counts.get('duplicates', 0),
        n_skipped=counts.get('skipped', 0),
        n_rejected_by_rule={rule: broken['count'] for rule, broken in counts.get('rules', {}).items()},
    )


def _trace_labels(origin: Origin) -> TracedLabels | None:
    row, level = origin.row, origin.row.level
    if level is None or not _was_labelled(row):
        return None
    return TracedLabels(
        level=level.name,
        level_hash=level.hash,
        uuid=None if origin.labels is None else origin.labels.uuid,
        job=None if origin.labelling is None else _trace_job(origin.labelling),
        record=dict(row.data.get(LABELLING, {})),
    )


def _was_labelled(row: Row) -> bool:
    """Return whether the labels are not those of the exploration."""
    provenance = row.provenance
    return LABELLING in row.data or provenance.labelled != provenance.explored
