"""The sampling stage as a calcfunction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import ExitCode, calcfunction
from pydantic import TypeAdapter

from aiida_mlip_autopipe.data.committee import LEG_PREFIX, evaluated_trajectory
from aiida_mlip_autopipe.data.descriptors import descriptions_from_nodes
from aiida_mlip_autopipe.errors import AutopipeError
from aiida_mlip_autopipe.sampling import SAMPLERS
from aiida_mlip_autopipe.sampling import select_frames as select

ERROR_SAMPLING = 400
DESCRIPTORS_PREFIX = 'descriptors_'


@calcfunction
def select_frames(
    settings: orm.Dict,
    random_seed: orm.Int,
    lineages: orm.Dict,
    kinds: orm.Dict,
    stage_version: orm.Str,
    **nodes: orm.Data,
) -> Mapping[str, orm.Data] | ExitCode:
    """Select the most informative frames of all legs.

    Parameters
    ----------
    settings
        The config's ``sampling`` section.
    random_seed
        The campaign's number.
    lineages
        The ancestor of each seed, by its id.
    kinds
        The kind of each seed, by its id.
    stage_version
        Version of the science behind this function.
    **nodes
        The frames of each leg as ``frames_…``, which the selection refers to, and what a committee says of them, where
        there is one, as ``committee_…``; descriptors that jobs have computed as ``descriptors_…``.

    Returns
    -------
    dict
        ``selection``: arrays ``frame`` (index within the leg), ``step``, ``distance`` and ``gain`` in the order of
        choice, with the attributes ``legs``, naming each pick's leg, and ``splits``, what it is for; ``report``.
    """
    labels = sorted(label for label in nodes if label.startswith(LEG_PREFIX))
    adapter: TypeAdapter[Any] = TypeAdapter(SAMPLERS.settings_union())
    trajectories = [evaluated_trajectory(label, nodes) for label in labels]
    described = descriptions_from_nodes(
        [node for label, node in sorted(nodes.items()) if label.startswith(DESCRIPTORS_PREFIX)], labels
    )
    try:
        chosen = select(
            trajectories,
            adapter.validate_python(settings.get_dict()),
            random_seed=random_seed.value,
            lineages=lineages.get_dict(),
            kinds=kinds.get_dict(),
            described=described,
        )
    except AutopipeError as error:
        return ExitCode(ERROR_SAMPLING, str(error), invalidates_cache=True)
    places = zip(chosen.trajectory_indices, chosen.frame_indices, strict=True)
    steps = [trajectories[leg].steps[frame] for leg, frame in places]
    selection = orm.ArrayData(
        {
            'frame': np.asarray(chosen.frame_indices, dtype=np.int64),
            'step': np.asarray(steps, dtype=np.int64),
            'distance': np.asarray(chosen.distances, dtype=np.float64),
            'gain': np.asarray(chosen.gains, dtype=np.float64),
        }
    )
    selection.base.attributes.set('legs', [labels[index] for index in chosen.trajectory_indices])
    selection.base.attributes.set('splits', list(chosen.splits))
    return {'selection': selection, 'report': orm.Dict(chosen.report)}
