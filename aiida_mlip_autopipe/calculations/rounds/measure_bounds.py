"""A calcfunction that measures how often the errors of new random labels are below their bounds."""

from __future__ import annotations

import math
from dataclasses import asdict

import numpy as np
from aiida import orm
from aiida.engine import ExitCode, calcfunction

from aiida_mlip_autopipe.assessment.deviations import Deviations, measure_errors
from aiida_mlip_autopipe.assessment.predictions import Predictions
from aiida_mlip_autopipe.calculations.rounds.calibrate_bounds import UNKNOWN_KIND, bounds_from_json
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.data.assessment import assessment_from_node
from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.data.uncertainties import uncertainties_of_trajectories
from aiida_mlip_autopipe.rounds.conformal import measure_coverage
from aiida_mlip_autopipe.storage import Row
from aiida_mlip_autopipe.storage.sets.keys import group_of, kind_of

# Increase this if a change to this module, or to what it calls, changes the result.
COVERAGE_VERSION = '1'

ERROR_COVERAGE = 400


@calcfunction
def measure_bounds(
    bounds: orm.Dict,
    assessment: orm.ArrayData,
    uncertainties: orm.ArrayData,
    drawn: orm.ArrayData,
    dataset: DatasetData,
    rows: orm.List,
    stage_version: orm.Str,
) -> orm.Dict | ExitCode:
    """Return the fraction of random frames whose errors are below the bounds of the previous round.

    Parameters
    ----------
    bounds
        The result of `calibrate_bounds` in the previous round, for the model that explored these frames.
    assessment
        The assessment of this model, with these rows.
    uncertainties
        The disagreement of the models of the previous round about the explored frames.
    drawn
        The frames that were drawn at random, from `draw_random_frames`.
    dataset
        The dataset with the labels.
    rows
        Indices of the rows of these frames in the dataset.
    stage_version
        Version of this function; increased when its results change.

    Returns
    -------
    aiida.orm.Dict
        The fields of `MeasuredCoverage` by quantity; a number that is not finite is None.
    """
    try:
        everything = dataset.rows()
        chosen = [everything[index] for index in rows]
        errors = measure_errors(
            Predictions.from_rows(chosen), assessment_from_node(assessment).of_rows(rows.get_list())
        )
        disagreements = _uncertainties_of(chosen, drawn, uncertainties_of_trajectories(uncertainties))
    except AutopipeError as error:
        return ExitCode(ERROR_COVERAGE, str(error), invalidates_cache=True)
    groups = [group_of(row, index, 'parent') for row, index in zip(chosen, rows, strict=True)]
    kinds = [kind_of(row) or UNKNOWN_KIND for row in chosen]
    measured = {}
    for name, fields in bounds['bounds'].items():
        limits = bounds_from_json(fields).bound(getattr(disagreements, name), kinds)
        values = getattr(errors, name)
        # Structures that are not periodic have no stress. An unknown bound counts as exceeded.
        known = np.flatnonzero(np.isfinite(values)).tolist()
        if known:
            found = asdict(measure_coverage(values[known], limits[known], [groups[place] for place in known]))
            measured[name] = {
                key: None if isinstance(one, float) and not math.isfinite(one) else one for key, one in found.items()
            }
    return orm.Dict(measured)


def _uncertainties_of(rows: list[Row], drawn: orm.ArrayData, known: dict[str, Deviations]) -> Deviations:
    """Return the uncertainties of rows, whose frames are identified by their seed and step."""
    names, seeds = (drawn.base.attributes.get(name) for name in ('trajectory_ids', 'seed_ids'))
    frames = zip(names, drawn.get_array('frame').tolist(), strict=True)
    steps = drawn.get_array('step').tolist()
    frame_of = {(seed, step): frame for seed, step, frame in zip(seeds, steps, frames, strict=True)}
    places = [frame_of[row.provenance.seed_id, row.provenance.step] for row in rows]
    fields = ('force_eV_A', 'stress_GPa', 'energy_eV_atom', 'n_components')
    return Deviations(
        **{field: np.array([getattr(known[name], field)[frame] for name, frame in places]) for field in fields}
    )
