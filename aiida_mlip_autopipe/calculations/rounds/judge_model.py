"""A calcfunction that decides whether a new model replaces the previous one."""

from __future__ import annotations

from aiida import orm
from aiida.engine import ExitCode, calcfunction

from aiida_mlip_autopipe.assessment.judge import TestSet
from aiida_mlip_autopipe.assessment.judge import judge_model as judge
from aiida_mlip_autopipe.assessment.predictions import Predictions
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.data.assessment import assessment_from_node
from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.storage.sets.keys import group_of

# Increase this if a change to this module, or to what it calls, changes the decision or its numbers.
JUDGE_VERSION = '1'

ERROR_JUDGE = 400


@calcfunction
def judge_model(
    new: orm.ArrayData,
    former: orm.ArrayData,
    starting: orm.ArrayData,
    dataset: DatasetData,
    rows: orm.List,
    random_seed: orm.Int,
    stage_version: orm.Str,
    former_offsets_eV: orm.Dict | None = None,
    max_drift_eV_A: orm.Float | None = None,
) -> orm.Dict | ExitCode:
    """Decide whether a new model replaces the previous one.

    Parameters
    ----------
    new, former, starting
        The assessments of the new model, of the model that explored last, and of the model from which the training
        started. The previous and the starting model may be the same. The assessments of the new and the previous model
        must contain the test rows and the same hot runs; those of the new and the starting model, the same dimers and
        structures of other chemical systems.
    dataset
        The dataset with the labels.
    rows
        Indices of the test rows in the dataset.
    random_seed
        The campaign's random seed.
    stage_version
        Version of this function; increased when its results change.
    former_offsets_eV
        Energies per atom that are added to the elements of the previous model. They are needed for the starting model,
        which does not contain the offsets of the labels (``offsets_eV`` in the report of a training job).
    max_drift_eV_A
        Bound on the change of the forces for structures of other chemical systems, in eV/Å; by default, the forces only
        need to be finite.

    Returns
    -------
    aiida.orm.Dict
        ``accepted``; ``failures``, each with its ``condition`` and a sentence; and the numbers of `judge_model` in
        `assessment.judge`.
    """
    try:
        everything = dataset.rows()
        chosen = [everything[index] for index in rows]
        judgement = judge(
            assessment_from_node(new),
            assessment_from_node(former),
            assessment_from_node(starting),
            TestSet(
                rows.get_list(),
                Predictions.from_rows(chosen),
                [group_of(row, index, 'parent') for index, row in zip(rows, chosen, strict=True)],
            ),
            random_seed.value,
            max_drift_eV_A=None if max_drift_eV_A is None else max_drift_eV_A.value,
            former_offsets_eV=None if former_offsets_eV is None else former_offsets_eV.get_dict(),
        )
    except AutopipeError as error:
        return ExitCode(ERROR_JUDGE, str(error), invalidates_cache=True)
    return orm.Dict(judgement)
