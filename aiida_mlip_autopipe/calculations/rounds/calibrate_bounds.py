"""A calcfunction that calibrates bounds on the errors of a model, and applies them to the explored frames."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import ExitCode, calcfunction

from aiida_mlip_autopipe.assessment.deviations import FORCE, QUANTITIES, measure_errors
from aiida_mlip_autopipe.assessment.predictions import Predictions
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.wording import counted
from aiida_mlip_autopipe.data.assessment import assessment_from_node
from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.data.uncertainties import uncertainties_of_rows, uncertainties_of_trajectories
from aiida_mlip_autopipe.rounds.conformal import ErrorBounds, calibrate
from aiida_mlip_autopipe.rounds.stopping import BOUND_FACTOR
from aiida_mlip_autopipe.storage.sets.keys import group_of, kind_of

# Increase this if a change to this module, or to what it calls, changes the bounds.
BOUNDS_VERSION = '1'

ERROR_BOUNDS = 400
UNKNOWN_KIND = 'unknown'


@calcfunction
def calibrate_bounds(
    assessment: orm.ArrayData,
    uncertainties: orm.ArrayData,
    dataset: DatasetData,
    rows: orm.List,
    kinds: orm.Dict,
    target: orm.Float,
    stage_version: orm.Str,
) -> orm.Dict | ExitCode:
    """Calibrate bounds on the errors of a model with rows that it was not trained on.

    Parameters
    ----------
    assessment
        The assessment of the model, with these rows.
    uncertainties
        The disagreement of the models about these rows and about the explored frames, from `compare_models`.
    dataset
        The dataset with the labels.
    rows
        Indices of the calibration rows in the dataset.
    kinds
        The kind of the seed of each explored trajectory, by trajectory id.
    target
        Target of the force error in eV/Å.
    stage_version
        Version of this function; increased when its results change.

    Returns
    -------
    aiida.orm.Dict
        ``bounds``, the fields of `ErrorBounds` by quantity, in which an infinite quantile is None; ``n_rows``;
        ``n_frames``, the number of explored frames; and ``fraction_bounded``, the fraction of these whose force bound
        is below twice the target.
    """
    try:
        bounds = _calibrate(assessment, uncertainties, dataset, rows.get_list())
    except (AutopipeError, ValueError) as error:
        return ExitCode(ERROR_BOUNDS, str(error), invalidates_cache=True)
    known = uncertainties_of_trajectories(uncertainties)
    of_frames = [bounds[FORCE].bound(one.force_eV_A, [kinds[name]] * len(one)) for name, one in known.items()]
    values = np.concatenate([np.empty(0), *of_frames])
    # A frame that a model cannot evaluate has no bound. NaN is not below a limit.
    n_below = int((values < BOUND_FACTOR * target.value).sum())
    return orm.Dict(
        {
            'bounds': {name: _as_json(one) for name, one in bounds.items()},
            'n_rows': len(rows.get_list()),
            'n_frames': len(values),
            'fraction_bounded': n_below / len(values) if len(values) else 0.0,
        }
    )


def _calibrate(
    assessment: orm.ArrayData, uncertainties: orm.ArrayData, dataset: DatasetData, indices: Sequence[int]
) -> dict[str, ErrorBounds]:
    everything = dataset.rows()
    rows = [everything[index] for index in indices]
    errors = measure_errors(Predictions.from_rows(rows), assessment_from_node(assessment).of_rows(indices))
    disagreements = uncertainties_of_rows(uncertainties, indices)
    groups = [group_of(row, index, 'parent') for row, index in zip(rows, indices, strict=True)]
    kinds = [kind_of(row) or UNKNOWN_KIND for row in rows]
    bounds = {}
    for name in QUANTITIES:
        known = np.isfinite(getattr(disagreements, name)) & np.isfinite(getattr(errors, name))
        # Structures that are not periodic have no stress. A model that cannot evaluate a frame gives no forces either.
        if name == FORCE and not known.all():
            raise ValueError(f'a model gives no finite forces for {counted(int((~known).sum()), "calibration frame")}')
        chosen = np.flatnonzero(known).tolist()
        if chosen:
            bounds[name] = calibrate(
                getattr(errors, name)[chosen],
                getattr(disagreements, name)[chosen],
                [groups[place] for place in chosen],
                [kinds[place] for place in chosen],
            )
    if FORCE not in bounds:
        raise ValueError('there are no calibration rows')
    return bounds


def _as_json(bounds: ErrorBounds) -> dict[str, Any]:
    fields = asdict(bounds)
    return fields | {'pooled': fields['pooled'] if math.isfinite(fields['pooled']) else None}


def bounds_from_json(fields: dict[str, Any]) -> ErrorBounds:
    """Return bounds from the content of a node."""
    return ErrorBounds(**(fields | {'pooled': math.inf if fields['pooled'] is None else fields['pooled']}))
