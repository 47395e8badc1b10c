"""What a user can change in a campaign whose target is not reached, derived from the reports of its rounds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from aiida_mlip_autopipe.core.wording import counted
from aiida_mlip_autopipe.rounds.conformal import COVERAGE

Rule = Literal['seeds_of_kind', 'more_groups', 'more_replay', 'hot_frames', 'more_labels', 'longer_training']

KIND_FACTOR = 1.5
"""A kind of seed whose error is larger than that of all other kinds by this factor needs more labels."""
MIN_GROUPS_OF_KIND = 3
"""A kind with fewer groups of test frames has no reliable error."""
MIN_GROUPS_OF_BOUNDS = math.ceil(COVERAGE / (1 - COVERAGE) - 1e-9)
"""With fewer calibration groups, the bounds are infinite; see `conformal_quantile`."""


@dataclass(frozen=True)
class KindError:
    """The force error of the last model on the test frames of one kind of seed.

    Attributes
    ----------
    force_error_eV_A
        Root mean square over the force components, in eV/Å.
    n_components
        Number of these components.
    n_groups
        Number of groups of test frames.
    """

    force_error_eV_A: float
    n_components: int
    n_groups: int


@dataclass(frozen=True)
class Suggestion:
    """A change that the reports suggest.

    Attributes
    ----------
    rule
        The rule that led to it.
    message
        What to change, and why.
    """

    rule: Rule
    message: str


def suggest(
    reports: Sequence[Mapping[str, Any]], target_eV_A: float, kinds: Mapping[str, KindError] | None = None
) -> list[Suggestion]:
    """Return what a user can change; empty before the first report, and if the target is reached.

    Parameters
    ----------
    reports
        The reports of the rounds in order, from `decide_round`.
    target_eV_A
        Target of the force error, in eV/Å.
    kinds
        The errors by kind of seed, if they are known.
    """
    if not reports or reports[-1]['decision']['reason'] == 'target_reached':
        return []
    last = reports[-1]
    found = [
        *_about_kinds(kinds or {}, target_eV_A),
        *_about_bounds(last['bounds']),
        *_about_model(last['judgement']),
        *_about_end(reports),
    ]
    return [Suggestion(rule, message) for rule, message in found]


def _about_kinds(kinds: Mapping[str, KindError], target_eV_A: float) -> Iterator[tuple[Rule, str]]:
    """Suggest more seeds of the kind with the largest error, if it is much larger than that of the other kinds."""
    known = {name: one for name, one in kinds.items() if one.n_groups >= MIN_GROUPS_OF_KIND}
    if len(known) < 2:
        return
    worst = max(known, key=lambda name: known[name].force_error_eV_A)
    others = [one for name, one in known.items() if name != worst]
    squares = sum(one.n_components * one.force_error_eV_A**2 for one in others)
    rest = math.sqrt(squares / sum(one.n_components for one in others))
    error = known[worst].force_error_eV_A
    if error > target_eV_A and error > KIND_FACTOR * rest:
        yield (
            'seeds_of_kind',
            f'generate more seeds of the kind {worst}: its force error on the test set is {error:.3f} eV/Å, and that '
            f'of the other kinds is {rest:.3f} eV/Å',
        )


def _about_bounds(bounds: Mapping[str, Any] | None) -> Iterator[tuple[Rule, str]]:
    """Suggest more groups if there are too few for a finite bound, without which the target cannot be reached."""
    if bounds is None or bounds['bounds']['force_eV_A']['pooled'] is not None:
        return
    n_groups = bounds['bounds']['force_eV_A']['n_groups']
    yield (
        'more_groups',
        f'generate seeds of more parents and increase rounds.random_labels: the calibration frames are from '
        f'{counted(n_groups, "group")}, and error bounds require {MIN_GROUPS_OF_BOUNDS}',
    )


def _about_model(judgement: Mapping[str, Any] | None) -> Iterator[tuple[Rule, str]]:
    """Suggest what may prevent the failures for which the last model was refused."""
    conditions = {one['condition'] for one in judgement['failures']} if judgement else set()
    if judgement and 'other_chemistries' in conditions:
        drift, bound = judgement['drift_eV_A'], judgement['max_drift_eV_A']
        if drift is None:
            why = 'the forces for other chemical systems are not finite'
            yield 'more_replay', f'set training.recipe to replay: {why}'
        else:
            why = (
                f'the forces for other chemical systems changed by {drift:.3f} eV/Å; at most {bound:g} eV/Å is allowed'
            )
            yield 'more_replay', f'set training.recipe to replay, or increase training.n_replay: {why}'
    if judgement and 'stable_dynamics' in conditions:
        yield (
            'hot_frames',
            'lower the maximum temperature of the explorations, or label more frames of hot explorations: '
            f'{judgement["n_survived"]} of {counted(judgement["n_hot_runs"], "hot run")} survived, and '
            f'{judgement["n_survived_before"]} with the previous model',
        )


def _about_end(reports: Sequence[Mapping[str, Any]]) -> Iterator[tuple[Rule, str]]:
    """Suggest more labels if they ran out, and a longer training if they do not help."""
    last = reports[-1]
    reason = last['decision']['reason']
    estimate = next((one['label_estimate'] for one in reversed(reports) if one['label_estimate']), None)
    if reason == 'plateau':
        yield 'longer_training', 'train for more epochs or use a larger model: more labels did not reduce the error'
    if reason in ('budget_spent', 'maximum_rounds') and estimate is not None:
        yield (
            'more_labels',
            'increase rounds.maximum and rounds.label_budget: the estimated number of training labels is '
            f'{estimate["median"]:.0f} ({estimate["low"]:.0f} to {estimate["high"]:.0f})',
        )
