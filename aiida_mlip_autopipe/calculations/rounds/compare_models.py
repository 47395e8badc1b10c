"""A calcfunction that compares what several models predict for the same frames."""

from __future__ import annotations

from collections.abc import Mapping

from aiida import orm
from aiida.engine import ExitCode, calcfunction

from aiida_mlip_autopipe.assessment.deviations import measure_uncertainties
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.data.assessment import assessment_from_node
from aiida_mlip_autopipe.data.uncertainties import node_from_uncertainties

# Increase this if a change to this module, or to what it calls, changes the uncertainties.
COMPARE_VERSION = '1'

ERROR_COMPARE = 400


@calcfunction
def compare_models(stage_version: orm.Str, **assessments: Mapping[str, orm.ArrayData]) -> orm.ArrayData | ExitCode:
    """Return how much several models disagree about each frame.

    Parameters
    ----------
    stage_version
        Version of this function; increased when its results change.
    **assessments
        The namespace ``assessments``: those of the models, of the same rows and legs. Its link labels have no meaning.

    Returns
    -------
    aiida.orm.ArrayData
        The node of `node_from_uncertainties`, which is an input of selections.
    """
    try:
        found = [assessment_from_node(node) for _, node in sorted(assessments['assessments'].items())]
        if len({(one.rows, tuple(one.trajectories.items())) for one in found}) > 1:
            raise AutopipeError(Code.VALUE_INVALID, 'the models were assessed on different frames')
        return node_from_uncertainties(measure_uncertainties([one.frames for one in found]), found[0])
    except AutopipeError as error:
        return ExitCode(ERROR_COMPARE, str(error), invalidates_cache=True)
