"""Decide whether a new model replaces the previous one, from the assessments of both and of the starting model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from aiida_mlip_autopipe.assessment.assessment import Assessment
from aiida_mlip_autopipe.assessment.deviations import estimate_errors, measure_errors
from aiida_mlip_autopipe.assessment.predictions import Predictions
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.wording import counted
from aiida_mlip_autopipe.rounds.dimers import find_new_holes
from aiida_mlip_autopipe.rounds.gate import MAX_DRIFT_EV_A, Measured, find_failures
from aiida_mlip_autopipe.rounds.held_out import MIN_GROUPS, Estimate, HeldOutErrors


@dataclass(frozen=True, eq=False)
class TestSet:
    """The labels of the test rows.

    Attributes
    ----------
    rows
        Indices of the rows in their dataset.
    labels
        Their labels.
    groups
        The group of each row.
    """

    __test__ = False  # not a test for pytest

    rows: Sequence[int]
    labels: Predictions
    groups: Sequence[str]


def judge_model(
    new: Assessment,
    former: Assessment,
    starting: Assessment,
    test: TestSet,
    random_seed: int,
    *,
    max_drift_eV_A: float | None = MAX_DRIFT_EV_A,
    former_offsets_eV: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Decide whether a new model meets all conditions, and return the decision with its numbers.

    Parameters
    ----------
    new, former, starting
        The assessments of the new model, of the model that explored last, and of the model from which the training
        started. The previous and the starting model may be the same. The assessments of the new and the previous model
        must contain the test rows and the same hot runs; those of the new and the starting model, the same dimers and
        structures of other chemical systems.
    test
        The test set.
    random_seed
        The random seed of the campaign.
    max_drift_eV_A
        Bound on the drift, eV/Å; None if it only needs to be finite.
    former_offsets_eV
        Offsets that are added to the energies of the previous model, if it does not contain them.

    Returns
    -------
    dict
        ``accepted``; ``failures``, each with its ``condition`` and its ``message``; and the numbers, as JSON. A number
        that is not finite is None.

    Raises
    ------
    AutopipeError
        If assessments that are compared do not contain the same rows, hot runs, dimers or structures.
    """
    measured = measure_model(new, former, starting, test, random_seed)
    failures = find_failures(measured, max_drift_eV_A)
    errors = {
        name: estimate_errors(measure_errors(test.labels, one.of_rows(test.rows), offsets), test.groups, random_seed)
        for name, one, offsets in (('new', new, None), ('former', former, former_offsets_eV))
    }
    return {
        'accepted': not failures,
        'failures': [asdict(one) for one in failures],
        'errors': {name: {key: _as_json(one) for key, one in found.items()} for name, found in errors.items()},
        'gain': _as_json(measured.gain),
        'n_frames': measured.n_test_frames,
        'n_groups': len(set(test.groups)),
        'n_failed': measured.n_failed,
        'n_hot_runs': measured.n_runs,
        'n_survived': measured.n_survived,
        'n_survived_before': measured.n_survived_before,
        'stopped': [one.model_dump(mode='json') for one in new.hot_runs if not one.survived],
        'holes': [{name: _number(value) for name, value in asdict(one).items()} for one in measured.holes],
        'drift_eV_A': None if measured.drift_eV_A is None else _number(measured.drift_eV_A),
        'max_drift_eV_A': max_drift_eV_A,
    }


def measure_model(
    new: Assessment, former: Assessment, starting: Assessment, test: TestSet, random_seed: int
) -> Measured:
    """Return the measured values that decide whether a new model is used.

    The parameters and errors are those of `judge_model`.
    """
    _require_equal('hot runs', *([run.seed_id for run in one.hot_runs] for one in (new, former)))
    _require_equal('dimers', *(list(one.dimers) for one in (new, starting)))
    current, before = (_of_test_rows(one, test) for one in (new, former))
    return Measured(
        gain=_measure_gain(current, before, test, random_seed),
        n_runs=len(new.hot_runs),
        n_survived=sum(one.survived for one in new.hot_runs),
        n_survived_before=sum(one.survived for one in former.hot_runs),
        holes=tuple(find_new_holes(new.dimers, starting.dimers)),
        drift_eV_A=measure_drift(new.other_chemistry, starting.other_chemistry),
        n_test_frames=len(test.rows),
        n_failed=int((~current.finite).sum()),
    )


def measure_drift(new: Predictions, starting: Predictions) -> float | None:
    """Return the root mean square of the force differences of two models, in eV/Å; None without structures.

    Structures that the starting model cannot evaluate are left out. If the new model cannot evaluate one of the others,
    the result is NaN.

    Raises
    ------
    AutopipeError
        If the structures differ.
    """
    _require_equal('structures of other chemical systems', new.numbers.tolist(), starting.numbers.tolist())
    known = np.repeat(starting.finite, starting.n_atoms)
    if not known.any():
        return None
    return float(np.sqrt(((new.forces[known] - starting.forces[known]) ** 2).mean()))


def _measure_gain(current: Predictions, before: Predictions, test: TestSet, random_seed: int) -> Estimate:
    """Return the gain on the test frames that the previous model can evaluate."""
    known = np.flatnonzero(before.finite).tolist()
    groups = [test.groups[index] for index in known]
    if len(set(groups)) < MIN_GROUPS:
        raise AutopipeError(
            Code.VALUES_INCOMPLETE,
            f'a comparison of models needs test frames of at least {counted(MIN_GROUPS, "group")}; got '
            f'{len(set(groups))}',
        )
    labels = test.labels.subset(known)
    errors = [measure_errors(labels, one.subset(known)) for one in (before, current)]
    squares = [one.force_eV_A**2 for one in errors]
    return HeldOutErrors(groups, errors[0].n_components, random_seed).gain(*squares)


def _of_test_rows(assessment: Assessment, test: TestSet) -> Predictions:
    try:
        return assessment.of_rows(test.rows)
    except KeyError as error:
        raise AutopipeError(Code.VALUES_INCOMPLETE, f'test row {error} was not assessed') from error


def _require_equal(what: str, first: Sequence[Any], second: Sequence[Any]) -> None:
    if list(first) != list(second):
        raise AutopipeError(Code.VALUE_INVALID, f'the models were assessed with different {what}')


def _as_json(estimate: Estimate) -> dict[str, float | None]:
    return {name: _number(value) for name, value in asdict(estimate).items()}


def _number(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
