"""When to stop: the target is reached, more labels no longer help, the budget is spent, or models fail their tests.

Every decision is made from errors on the test set, whose frames were drawn at random and never trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from aiida_mlip_autopipe.core.wording import counted
from aiida_mlip_autopipe.rounds.held_out import Estimate

Reason = Literal['target_reached', 'plateau', 'budget_spent', 'models_refused', 'maximum_rounds']

ROUNDS_IN_A_ROW = 2
"""A target, a plateau or a refusal counts only if it occurs in this many rounds in a row."""
MIN_FRACTION_BOUNDED = 0.95
"""Fraction of the explored frames whose bound must be below `BOUND_FACTOR` times the target."""
BOUND_FACTOR = 2.0
MIN_GAIN = 0.05
"""A round belongs to a plateau only if the relative decrease of the error is below this."""
MAX_GAIN_LIMIT = 0.10
"""The upper limit of this decrease must be below this. Otherwise, the test set is too small to detect a plateau."""


@dataclass(frozen=True)
class RoundErrors:
    """What a round contributes to the decision.

    Attributes
    ----------
    n_labels
        Number of labels paid for so far, including those drawn at random.
    force_error
        Root mean square error of the force components on the test set, eV/Å. If the new model was refused, it is that
        of the previous one.
    fraction_bounded
        Fraction of the frames explored in this round whose bound is below twice the target.
    gain
        Relative decrease of the error by this round on the same test frames; None if the new model was refused.
    accepted
        Whether the new model passed its tests.
    further_errors
        Errors of stress (GPa) and energy (eV/atom) that have a target, by the name of the target.
    """

    n_labels: int
    force_error: Estimate
    fraction_bounded: float
    gain: Estimate | None = None
    accepted: bool = True
    further_errors: dict[str, Estimate] | None = None


@dataclass(frozen=True)
class Targets:
    """When a campaign with rounds ends.

    Attributes
    ----------
    force_error_eV_A
        Target of the force error.
    label_budget
        Maximum number of labels; None for no limit.
    maximum_rounds
        Maximum number of rounds.
    labels_per_round
        Number of labels that the next round needs.
    further
        Targets of further errors by name.
    """

    force_error_eV_A: float
    label_budget: int | None
    maximum_rounds: int
    labels_per_round: int
    further: dict[str, float] | None = None


@dataclass(frozen=True)
class Decision:
    """Whether the campaign stops, and why.

    Attributes
    ----------
    reason
        None if another round follows.
    message
        The reason in a sentence with its numbers.
    """

    reason: Reason | None
    message: str


def decide(history: Sequence[RoundErrors], targets: Targets) -> Decision:
    """Decide after a round whether another one follows.

    Parameters
    ----------
    history
        All rounds so far, the last one at the end.
    targets
        The targets.

    Raises
    ------
    ValueError
        If the history is empty.
    """
    if not history:
        raise ValueError('a decision needs at least one round')
    last, recent = history[-1], list(history)[-ROUNDS_IN_A_ROW:]
    enough = len(recent) == ROUNDS_IN_A_ROW
    target = targets.force_error_eV_A
    if enough and all(_is_below_target(one, targets) for one in recent) and _is_bounded(last):
        return Decision(
            'target_reached',
            f'the upper limit of the force error, {last.force_error.upper_limit:.3f} eV/Å, is below the target of '
            f'{target:g} eV/Å, and {last.fraction_bounded:.0%} of the explored frames have a bound below '
            f'{BOUND_FACTOR * target:g} eV/Å',
        )
    if enough and not any(one.accepted for one in recent):
        return Decision('models_refused', f'the models of the last {ROUNDS_IN_A_ROW} rounds failed their tests')
    if enough and all(_is_flat(one) for one in recent):
        return Decision(
            'plateau',
            f'target not reached: the force error is {last.force_error.value:.3f} eV/Å, and each of the last '
            f'{ROUNDS_IN_A_ROW} rounds reduced it by less than {MIN_GAIN:.0%}',
        )
    if targets.label_budget is not None and last.n_labels + targets.labels_per_round > targets.label_budget:
        return Decision(
            'budget_spent',
            f'the label budget allows no further round (spent: {last.n_labels} of {targets.label_budget}, needed: '
            f'{targets.labels_per_round}); the force error is {last.force_error.value:.3f} eV/Å',
        )
    if len(history) >= targets.maximum_rounds:
        return Decision(
            'maximum_rounds',
            f'{counted(len(history), "round")} completed; the force error is {last.force_error.value:.3f} eV/Å',
        )
    return Decision(None, f'round {len(history) + 1} follows: the force error is {last.force_error.value:.3f} eV/Å')


def _is_below_target(one: RoundErrors, targets: Targets) -> bool:
    further = targets.further or {}
    errors = one.further_errors or {}
    return one.force_error.upper_limit < targets.force_error_eV_A and all(
        name in errors and errors[name].upper_limit < limit for name, limit in further.items()
    )


def _is_bounded(one: RoundErrors) -> bool:
    return one.fraction_bounded >= MIN_FRACTION_BOUNDED


def _is_flat(one: RoundErrors) -> bool:
    """Whether a round certainly gained little. A refused model does not show what more labels would do."""
    gain = one.gain
    return one.accepted and gain is not None and gain.value < MIN_GAIN and gain.upper_limit < MAX_GAIN_LIMIT
