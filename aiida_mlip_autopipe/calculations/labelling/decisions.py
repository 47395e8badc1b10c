"""Which rows of a dataset are labelled, which labels are recomputed, and which are kept.

The work chain and the calcfunction that attaches the labels make the same decisions from the same inputs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from aiida import orm

from aiida_mlip_autopipe.data.labels import LabelsData
from aiida_mlip_autopipe.labelling import LABELLERS, Failure, Label, LabellingSettings, Variation
from aiida_mlip_autopipe.labelling.checks import Suspicion, choose_variation, find_fault, find_suspicious, judge_repeat
from aiida_mlip_autopipe.labelling.screening import screen_structures
from aiida_mlip_autopipe.storage import Row
from aiida_mlip_autopipe.structures.rows.labels import other_labels, present_labels

# Settings of the section that determine where and how the jobs run, but not the result.
NOT_OF_RESULT = {'code', 'resources', 'structures_per_job', 'time_limit_s', 'retry_failed'}


@dataclass(frozen=True)
class Dropped:
    """A row that is not part of the labelled dataset.

    Attributes
    ----------
    index
        Index of the row in the dataset.
    rule
        Why it was left out, such as ``max_force_eV_A`` or ``not_converged``.
    reason
        A sentence.
    """

    index: int
    rule: str
    reason: str


@dataclass(frozen=True)
class Screened:
    """The rows that are labelled, by index, and those that are not."""

    kept: list[int]
    dropped: list[Dropped]


@dataclass(frozen=True)
class FoundLabel:
    """A label, or the reason why there is none, and the node that contains it; None if no job could record it."""

    outcome: Label | Failure
    node: LabelsData | None


def result_settings(settings: LabellingSettings) -> orm.Dict:
    """Return the settings that determine which rows are labelled and which labels are kept, as an unstored node."""
    shared = set(LabellingSettings.model_fields) - NOT_OF_RESULT
    return orm.Dict(settings.model_dump(mode='json', include=shared))


def read_settings(node: orm.Dict) -> LabellingSettings:
    """Return the settings from the node that `result_settings` made."""
    return LabellingSettings.model_validate(node.get_dict())


def screen_rows(rows: Sequence[Row], settings: LabellingSettings) -> Screened:
    """Return the rows that are labelled, and why the others are not."""
    known = [_mlip_results(row) for row in rows]
    forces = [None if results is None else results[1] for results in known]
    screening = screen_structures([row.atoms for row in rows], forces, [_kind(row) for row in rows], settings)
    dropped = [
        Dropped(one.index, rule, f'{rule} is {one.limit:g}, but this structure has {one.value:.4g}')
        for rule, found in screening.left_out.items()
        for one in found
    ]
    return Screened(list(screening.kept), sorted(dropped, key=lambda one: one.index))


def collect_labels(nodes: Iterable[LabelsData], failures: Mapping[str, Mapping[str, Any]]) -> dict[str, FoundLabel]:
    """Return labels and failures by key. A label takes precedence over a failure, and an older node over a newer one.

    Parameters
    ----------
    nodes
        The labels.
    failures
        ``rule`` and ``reason`` of structures whose failure no job could record.
    """
    found = {key: FoundLabel(Failure(**failure), None) for key, failure in failures.items()}
    for node in sorted(nodes, key=lambda one: one.pk):
        for key, outcome in zip(node.keys, node.outcomes(), strict=True):
            if key not in found or (isinstance(found[key].outcome, Failure) and isinstance(outcome, Label)):
                found[key] = FoundLabel(outcome, node)
    return found


def find_suspicions(
    rows: Sequence[Row], keys: Mapping[int, str], found: Mapping[str, FoundLabel]
) -> dict[int, tuple[Suspicion, ...]]:
    """Return the rows whose label is suspicious, and why.

    Parameters
    ----------
    rows
        The rows of the dataset.
    keys
        The key of the label of each row that is labelled, by index.
    found
        The labels, from `collect_labels`.
    """
    labels: dict[int, Label] = {}
    for index, key in keys.items():
        outcome = found[key].outcome if key in found else None
        if isinstance(outcome, Label) and find_fault(outcome) is None:
            labels[index] = outcome
    checked = list(labels)
    suspicious = find_suspicious(
        [rows[index].atoms for index in checked],
        [_kind(rows[index]) for index in checked],
        list(labels.values()),
        [_mlip_results(rows[index]) for index in checked],
    )
    return {checked[place]: why for place, why in suspicious.items()}


def choose_repeats(
    rows: Sequence[Row], suspicious: Collection[int], settings: LabellingSettings
) -> dict[int, Variation]:
    """Return the rows whose label is recomputed, with what the repetition changes.

    Parameters
    ----------
    rows
        The rows of the dataset.
    suspicious
        The rows whose label is suspicious, by index.
    settings
        The settings.
    """
    variations = LABELLERS.load(settings.kind).variations if settings.repeat else ()
    chosen = {index: choose_variation(rows[index].atoms, variations) for index in suspicious}
    return {index: variation for index, variation in chosen.items() if variation is not None}


def judge_labels(
    keys: Mapping[int, str],
    found: Mapping[str, FoundLabel],
    repeats: Mapping[int, Variation],
    repeated: Mapping[str, FoundLabel],
) -> Iterator[Dropped]:
    """Yield the rows that have no label, whose label has a net force, or whose repeated label differs.

    Parameters
    ----------
    keys
        The key of the label of each row that is labelled, by index.
    found
        The labels.
    repeats
        The rows whose label was recomputed, from `choose_repeats`.
    repeated
        The repeated labels.
    """
    for index, key in keys.items():
        outcome = found[key].outcome if key in found else _missing()
        fault = find_fault(outcome)
        if fault is None and index in repeats:
            assert isinstance(outcome, Label)
            fault = judge_repeat(outcome, repeated[key].outcome if key in repeated else _missing())
        if fault is not None:
            yield Dropped(index, fault.rule, fault.reason)


def _missing() -> Failure:
    return Failure('no job has computed this structure', 'raised')


def _kind(row: Row) -> str | None:
    kind: str | None = row.key_value_pairs.get('kind')
    return kind


def _mlip_results(row: Row) -> tuple[float, np.ndarray] | None:
    """Return the energy in eV and the forces (n, 3) in eV/Å of the exploring MLIP for a row; None if unknown."""
    for labels in (present_labels(row), *other_labels(row).values()):
        if labels is not None and labels.level.method == 'mlip':
            return float(labels.results['energy']), np.asarray(labels.results['forces'])
    return None
