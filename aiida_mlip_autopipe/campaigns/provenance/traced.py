"""The stages of what made a row, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class TracedRow:
    """A row.

    Attributes
    ----------
    id
        Its id in the dataset.
    formula, n_atoms
        Its composition.
    energy_eV
        The energy of its label; None without one.
    label_source
        The name of the level of theory of its label.
    dataset
        UUID of a node with the dataset; None if the profile has none.
    """

    id: int | None
    formula: str
    n_atoms: int
    energy_eV: float | None
    label_source: str
    dataset: str | None


@dataclass(frozen=True)
class TracedSelection:
    """Why a frame was selected.

    Attributes
    ----------
    uuid, made_by
        The selection, and the process that made it.
    rank, n_selected, n_candidates
        The position in the order of selection, from 0, and the numbers of selected frames and of candidates.
    sampler, settings
        The sampler and all settings of ``sampling``.
    distance, gain
        Distance to the frames that were selected before, and the gain, in the measures of the sampler; None if the
        sampler does not compute them.
    split
        The set of the row; None without sets.
    committee_force_disagreement_eV_A
        Maximum difference between the forces of the calculator and of the committee; None without a committee.
    """

    uuid: str
    made_by: str
    rank: int
    n_selected: int
    n_candidates: int
    sampler: str
    settings: dict[str, Any]
    distance: float | None
    gain: float | None
    split: str | None
    committee_force_disagreement_eV_A: float | None


@dataclass(frozen=True)
class TracedFrame:
    """A frame in its trajectory.

    Attributes
    ----------
    trajectory, n_frames
        UUID of the trajectory and its number of frames.
    index, step
        Index in the trajectory, from 0, and absolute step of the run.
    ensemble, temperature_K, target_temperature_K
        The ensemble, the instantaneous temperature and that of the thermostat; None if unknown.
    """

    trajectory: str
    n_frames: int
    index: int
    step: int
    ensemble: str
    temperature_K: float | None
    target_temperature_K: float | None


@dataclass(frozen=True)
class TracedJob:
    """One job of an exploration or of a labelling run.

    Attributes
    ----------
    pk, uuid, process
        The process and its class.
    computer, code, job_id, folder
        Where it ran: the computer, the code, the id that the scheduler gave to the job, and the folder; None if
        unknown.
    started, ended
        When its node was made and last changed.
    exit_status, outcome
        Its exit code, and the outcome in its result, such as ``completed``; None if unknown.
    first_step, last_step
        The steps of the leg; None for other jobs.
    recoveries
        How many recoveries of an unstable run preceded it.
    calculator, model, model_sha256, image_sha256
        The calculator, and the hashes of its model and image; None without them.
    versions
        The versions of the package, the calculator and its libraries, by name.
    environment
        The environment record of the job.
    events
        The messages of events in the run, with the rule that reported each.
    """

    pk: int
    uuid: str
    process: str
    computer: str | None
    code: str | None
    job_id: str | None
    folder: str | None
    started: datetime
    ended: datetime
    exit_status: int | None
    outcome: str | None
    first_step: int | None
    last_step: int | None
    recoveries: int
    calculator: str | None
    model: str | None
    model_sha256: str | None
    image_sha256: str | None
    versions: dict[str, str]
    environment: dict[str, Any]
    events: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class RepeatedJob:
    """A job of the exploration that ended without frames, so it was repeated or the run continued without it."""

    pk: int
    uuid: str
    exit_status: int | None
    reason: str


@dataclass(frozen=True)
class TracedSeed:
    """A seed.

    Attributes
    ----------
    uuid, seed_id
        Its node, and its identity.
    kind, label, parent
        The generator, the label of the entry and the parent structure; None if unknown.
    record
        How it was made, including its perturbation.
    made_by
        The calculation that made it; None if it was made elsewhere.
    entry, settings
        The index of its entry in ``generation``, and the settings of this entry; None if unknown.
    n_requested, n_made, n_duplicate, n_skipped
        Numbers of seeds of this entry in the same calculation: requested, made, duplicates, and without a valid draw.
    n_rejected_by_rule
        Rejected draws of these seeds, by the rule that they violated.
    """

    uuid: str
    seed_id: str
    kind: str | None
    label: str | None
    parent: str | None
    record: dict[str, Any]
    made_by: str | None
    entry: int | None
    settings: dict[str, Any] | None
    n_requested: int
    n_made: int
    n_duplicate: int
    n_skipped: int
    n_rejected_by_rule: dict[str, int]


@dataclass(frozen=True)
class TracedConfig:
    """The campaign that selected the frame.

    Attributes
    ----------
    campaign, pk, uuid
        Its name and node; the node is None if the profile does not contain it.
    config_sha256, random_seed
        The hash of its config, and the random seed.
    extends
        The campaign that it extends, with ``name``, ``uuid``, ``dataset_uuid`` and ``dataset_checksum``; None if it
        extends none.
    config
        Its config with presets, overrides and defaults; None if the profile does not contain it.
    """

    campaign: str
    pk: int | None
    uuid: str | None
    config_sha256: str
    random_seed: int
    extends: dict[str, Any] | None
    config: dict[str, Any] | None


@dataclass(frozen=True)
class TracedLabels:
    """Labels of a reference method.

    Attributes
    ----------
    level, level_hash
        Name and hash of the level of theory.
    uuid
        The node of the labels; None if the profile does not contain them.
    job
        The process that computed the labels or read them from files; None if the profile does not contain it.
    record
        The record of the calculation, such as its attempts, its seconds and its threads.
    """

    level: str
    level_hash: str
    uuid: str | None
    job: TracedJob | None
    record: dict[str, Any]


@dataclass(frozen=True)
class Trace:
    """What made a row, from the row back to the config.

    Attributes
    ----------
    row, labels, selection, frame, jobs, repeated_jobs, seed, config
        The stages. The labels are None if no reference method labelled the row, and the selection is None if the
        profile does not contain it. The jobs are those of the exploration, from the first leg to that with the frame.
    """

    row: TracedRow
    labels: TracedLabels | None
    selection: TracedSelection | None
    frame: TracedFrame
    jobs: tuple[TracedJob, ...]
    repeated_jobs: tuple[RepeatedJob, ...]
    seed: TracedSeed
    config: TracedConfig
