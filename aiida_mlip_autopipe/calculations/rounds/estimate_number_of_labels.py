"""A calcfunction that estimates how many labels are needed to reach the target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from aiida import orm
from aiida.engine import ExitCode, calcfunction

from aiida_mlip_autopipe.assessment.deviations import FORCE, estimate_errors, measure_errors
from aiida_mlip_autopipe.assessment.predictions import Predictions
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.data.assessment import assessment_from_node
from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.rounds.label_estimate import estimate_labels
from aiida_mlip_autopipe.storage.sets.keys import group_of

# Increase this if a change to this module, or to what it calls, changes the estimate.
ESTIMATE_VERSION = '1'

ERROR_ESTIMATE = 400


@calcfunction
def estimate_number_of_labels(
    dataset: DatasetData,
    rows: orm.List,
    n_labels: orm.Dict,
    target: orm.Float,
    random_seed: orm.Int,
    stage_version: orm.Str,
    **nodes: Mapping[str, orm.ArrayData],
) -> orm.Dict | ExitCode:
    """Estimate how many labels are needed to reach the target, from models trained on different numbers of labels.

    Parameters
    ----------
    dataset
        The dataset with the labels.
    rows
        Indices of the test rows in the dataset.
    n_labels
        Number of labels for training and validation of each model, by the name of its assessment.
    target
        Target of the force error in eV/Å.
    random_seed
        The campaign's random seed.
    stage_version
        Version of this function; increased when its results change.
    **nodes
        The namespace ``assessments``: the assessment of each model, by the name of the model.

    Returns
    -------
    aiida.orm.Dict
        The fields of `LabelEstimate`, and ``learning_curve``: pairs of a number of labels and a force error in eV/Å.
    """
    try:
        everything = dataset.rows()
        chosen = [everything[index] for index in rows]
        labels = Predictions.from_rows(chosen)
        groups = [group_of(row, index, 'parent') for row, index in zip(chosen, rows, strict=True)]
        curve = []
        for name, node in sorted(nodes['assessments'].items()):
            errors = measure_errors(labels, assessment_from_node(node).of_rows(rows.get_list()))
            error = estimate_errors(errors, groups, random_seed.value)[FORCE].value
            curve.append((n_labels[name], error))
        numbers, values = zip(*sorted(curve), strict=True)
        estimate = estimate_labels(numbers, values, target.value, random_seed.value)
    except (AutopipeError, ValueError) as error:
        return ExitCode(ERROR_ESTIMATE, str(error), invalidates_cache=True)
    return orm.Dict({**asdict(estimate), 'learning_curve': [list(one) for one in sorted(curve)]})
