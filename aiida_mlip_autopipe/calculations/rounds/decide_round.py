"""A calcfunction that decides whether another round follows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from aiida import orm
from aiida.engine import calcfunction

from aiida_mlip_autopipe.assessment.deviations import ENERGY, FORCE, STRESS
from aiida_mlip_autopipe.rounds.held_out import Estimate
from aiida_mlip_autopipe.rounds.settings import RoundsSettings
from aiida_mlip_autopipe.rounds.stopping import RoundErrors, Targets, decide

# Increase this if a change to this module, or to what it calls, changes the decision.
DECIDE_VERSION = '1'

UNKNOWN = Estimate(math.inf, math.inf)


@calcfunction
def decide_round(
    settings: orm.Dict,
    facts: orm.Dict,
    stage_version: orm.Str,
    judgement: orm.Dict | None = None,
    bounds: orm.Dict | None = None,
    coverage: orm.Dict | None = None,
    label_estimate: orm.Dict | None = None,
    **nodes: Mapping[str, orm.Dict],
) -> orm.Dict:
    """Decide after a round whether another one follows, and report the round.

    Parameters
    ----------
    settings
        The settings of the rounds.
    facts
        ``round``, ``n_labels`` (those paid for so far), ``labels_per_round``, and the other facts that the report
        contains.
    stage_version
        Version of this function; increased when its results change.
    judgement
        The result of `judge_model`; None if there is no model to judge.
    bounds
        The result of `calibrate_bounds`; None if the bounds could not be calibrated.
    coverage
        The result of `measure_bounds`; None in the first round, and if the model that explored has no bounds.
    label_estimate
        The result of `estimate_number_of_labels`; None without an estimate.
    **nodes
        The namespace ``earlier``: the reports of the earlier rounds.

    Returns
    -------
    aiida.orm.Dict
        The facts; ``errors``, what this round contributes to decisions; ``decision`` with ``reason`` (None if another
        round follows) and ``message``; and the content of the other inputs.
    """
    limits = RoundsSettings.model_validate(settings.get_dict())
    reports = [node.get_dict() for node in nodes.get('earlier', {}).values()]
    history = [read_errors(one['errors']) for one in sorted(reports, key=lambda one: one['round'])]
    judged = None if judgement is None else judgement.get_dict()
    calibrated = None if bounds is None else bounds.get_dict()
    errors = _errors(judged, calibrated, facts['n_labels'], limits, history[-1] if history else None)
    decision = decide([*history, errors], _targets(limits, facts['labels_per_round']))
    return orm.Dict(
        {
            **facts.get_dict(),
            'errors': write_errors(errors),
            'decision': asdict(decision),
            'judgement': judged,
            'bounds': calibrated,
            'coverage': None if coverage is None else coverage.get_dict(),
            'label_estimate': None if label_estimate is None else label_estimate.get_dict(),
        }
    )


def _targets(limits: RoundsSettings, labels_per_round: int) -> Targets:
    further = {STRESS: limits.target_stress_error_GPa, ENERGY: limits.target_energy_error_eV_atom}
    return Targets(
        limits.target_force_error_eV_A,
        limits.label_budget,
        limits.maximum,
        labels_per_round,
        {name: limit for name, limit in further.items() if limit is not None},
    )


def _errors(
    judged: dict[str, Any] | None,
    bounds: dict[str, Any] | None,
    n_labels: int,
    limits: RoundsSettings,
    before: RoundErrors | None,
) -> RoundErrors:
    """Return what the round contributes. If there is no new model, the errors are those of the previous round."""
    if judged is None:
        return RoundErrors(n_labels, UNKNOWN if before is None else before.force_error, 0.0, accepted=False)
    accepted = bool(judged['accepted'])
    found = {name: _estimate_of(one) for name, one in judged['errors']['new' if accepted else 'former'].items()}
    return RoundErrors(
        n_labels,
        found.pop(FORCE),
        # The bounds are those of the new model.
        bounds['fraction_bounded'] if bounds is not None and accepted else 0.0,
        gain=_estimate_of(judged['gain']) if accepted else None,
        accepted=accepted,
        further_errors=found,
    )


def _estimate_of(fields: Mapping[str, float | None]) -> Estimate:
    """Return an estimate from JSON, in which None stands for a number that is not finite.

    It becomes infinity, which meets no target.
    """
    return Estimate(**{name: math.inf if value is None else value for name, value in fields.items()})


def write_errors(errors: RoundErrors) -> dict[str, Any]:
    """Return what a round contributes to decisions, as JSON."""
    found: dict[str, Any] = _without_infinity(asdict(errors))
    return found


def read_errors(fields: Mapping[str, Any]) -> RoundErrors:
    """Return what `write_errors` wrote."""
    gain, further = fields['gain'], fields['further_errors']
    return RoundErrors(
        **{
            **fields,
            'force_error': _estimate_of(fields['force_error']),
            'gain': None if gain is None else _estimate_of(gain),
            'further_errors': None if further is None else {key: _estimate_of(one) for key, one in further.items()},
        }
    )


def _without_infinity(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_infinity(one) for key, one in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
