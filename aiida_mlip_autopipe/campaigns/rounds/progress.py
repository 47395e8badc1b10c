"""The progress of the rounds of a campaign."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aiida import orm

from aiida_mlip_autopipe.campaigns.labelling.progress import read_labelling
from aiida_mlip_autopipe.rounds.suggestions import suggest
from aiida_mlip_autopipe.workflows.graph import (
    ASSESSMENT,
    LABELLING,
    TRAINING,
    find_round_reports,
    find_rounds,
)


@dataclass(frozen=True)
class FinishedRound:
    """A round that has ended.

    Attributes
    ----------
    number
        Its number, from 1.
    n_labels
        Number of labels of this round and of the earlier ones.
    accepted
        Whether the new model replaced the previous one.
    failures
        Why the new model was refused, and which training runs or assessments failed.
    force_error_eV_A, force_error_limit_eV_A
        The force error of the model on the test set and its upper limit with a confidence of 90 %, in eV/Å; None if it
        is unknown.
    fraction_bounded
        Fraction of the explored frames whose error bound is below twice the target.
    n_labels_estimated
        Number of training labels that are needed to reach the target: the lower end of an 80 % interval, the median and
        the upper end. None without an estimate.
    decision
        Why the campaign stops or continues.
    """

    number: int
    n_labels: int
    accepted: bool
    failures: tuple[str, ...]
    force_error_eV_A: float | None
    force_error_limit_eV_A: float | None
    fraction_bounded: float
    n_labels_estimated: tuple[float, float, float] | None
    decision: str


@dataclass(frozen=True)
class RoundsProgress:
    """The state of the rounds of a campaign.

    Attributes
    ----------
    number
        The current or last round, from 1; 0 before the first one.
    maximum
        Maximum number of rounds.
    stage
        ``training`` or ``assessment`` while models are trained or assessed; otherwise None.
    dataset
        The pk of the work chain that explores and labels in this round; None before the first one.
    n_labels
        Number of labels so far, including those of the current round.
    label_budget
        Maximum number of labels; None without a limit.
    target_force_error_eV_A
        Target of the force error, in eV/Å.
    reason
        Why no further round follows, such as ``target_reached``; None while this is undecided.
    finished
        The rounds that have ended, in order.
    suggestions
        What a user can change, from `suggest`.
    """

    number: int
    maximum: int
    stage: str | None
    dataset: int | None
    n_labels: int
    label_budget: int | None
    target_force_error_eV_A: float
    reason: str | None
    finished: tuple[FinishedRound, ...]
    suggestions: tuple[str, ...]


def read_rounds(campaign: orm.WorkChainNode) -> RoundsProgress:
    """Return the state of the rounds of a campaign."""
    settings: dict[str, Any] = campaign.inputs.rounds.get_dict()
    chains, reports = find_rounds(campaign), find_round_reports(campaign)
    finished = tuple(map(_read_report, reports))
    n_labels = finished[-1].n_labels if finished else 0
    if len(chains) > len(finished):
        n_labels += _count_labels(chains[-1])
    return RoundsProgress(
        number=len(chains),
        maximum=settings['maximum'],
        stage=_stage(campaign, len(chains)),
        dataset=chains[-1].pk if chains else None,
        n_labels=n_labels,
        label_budget=settings['label_budget'],
        target_force_error_eV_A=settings['target_force_error_eV_A'],
        reason=reports[-1]['decision']['reason'] if reports else None,
        finished=finished,
        suggestions=tuple(one.message for one in suggest(reports, settings['target_force_error_eV_A'])),
    )


def _read_report(report: dict[str, Any]) -> FinishedRound:
    errors, judgement, estimate = report['errors'], report['judgement'], report['label_estimate']
    unmet = [one['message'] for one in judgement['failures']] if judgement else []
    failed = [f'{name} failed: {reason}' for name, reason in report['failures'].items()]
    return FinishedRound(
        number=report['round'],
        n_labels=report['n_labels'],
        accepted=errors['accepted'],
        failures=(*unmet, *failed),
        force_error_eV_A=errors['force_error']['value'],
        force_error_limit_eV_A=errors['force_error']['upper_limit'],
        fraction_bounded=errors['fraction_bounded'],
        n_labels_estimated=None if estimate is None else (estimate['low'], estimate['median'], estimate['high']),
        decision=report['decision']['message'],
    )


def _count_labels(chain: orm.WorkChainNode) -> int:
    """Return the number of labels that a round has so far."""
    query = orm.QueryBuilder().append(orm.WorkChainNode, filters={'id': chain.pk}, tag='round')
    query.append(orm.WorkChainNode, with_incoming='round', filters={'process_type': LABELLING})
    labelling = query.first(flat=True)
    if labelling is None:
        return 0
    labels = read_labelling(labelling)
    return int(labels.n_known + labels.n_labelled)


def _stage(campaign: orm.WorkChainNode, number: int) -> str | None:
    """Return whether models are being trained or assessed in a round; None before that."""
    query = orm.QueryBuilder(distinct=True).append(orm.WorkChainNode, filters={'id': campaign.pk}, tag='campaign')
    query.append(
        orm.ProcessNode,
        with_incoming='campaign',
        edge_filters={'label': {'like': f'round\\_{number}\\_%'}},
        project='process_type',
    )
    called = set(query.all(flat=True))
    return 'assessment' if ASSESSMENT in called else 'training' if TRAINING in called else None
