"""The sampling stage as a calcfunction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida import orm
from aiida.engine import ExitCode, calcfunction
from pydantic import TypeAdapter

from aiida_mlip_autopipe.data.committee import evaluated_trajectories
from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.data.descriptors import descriptions_from_nodes
from aiida_mlip_autopipe.data.selection import nodes_from_selection
from aiida_mlip_autopipe.data.trajectory import in_order
from aiida_mlip_autopipe.errors import AutopipeError
from aiida_mlip_autopipe.sampling import sampling_union
from aiida_mlip_autopipe.sampling import select_frames as select

ERROR_SAMPLING = 400


@calcfunction
def select_frames(
    settings: orm.Dict,
    random_seed: orm.Int,
    lineages: orm.Dict,
    kinds: orm.Dict,
    stage_version: orm.Str,
    reference_dataset: DatasetData | None = None,
    **nodes: Mapping[str, orm.Data],
) -> Mapping[str, orm.Data] | ExitCode:
    """Select the most informative frames of all legs.

    Parameters
    ----------
    settings
        The config's ``sampling`` section without ``given``.
    random_seed
        The campaign's number.
    lineages
        The ancestor of each seed, by its id.
    kinds
        The kind of each seed, by its id.
    stage_version
        Version of the science behind this function.
    reference_dataset
        The structures that the dataset extends.
    **nodes
        The namespaces ``legs``, the frames, ``evaluations``, what a committee says of them, and ``descriptors``, what
        jobs have computed of them. Their labels mean nothing: each node says which trajectories it is of.

    Returns
    -------
    dict
        See `nodes_from_selection`.
    """
    adapter: TypeAdapter[Any] = TypeAdapter(sampling_union())
    try:
        legs = in_order(nodes['legs'].values())
        trajectories = evaluated_trajectories(legs, nodes.get('evaluations', {}).values())
        described = descriptions_from_nodes(
            nodes.get('descriptors', {}).values(), [one.trajectory_id for one in trajectories]
        )
        chosen = select(
            trajectories,
            adapter.validate_python(settings.get_dict()),
            random_seed=random_seed.value,
            lineages=lineages.get_dict(),
            kinds=kinds.get_dict(),
            described=described,
            given=[] if reference_dataset is None else reference_dataset.structures(),
        )
    except AutopipeError as error:
        return ExitCode(ERROR_SAMPLING, str(error), invalidates_cache=True)
    return nodes_from_selection(chosen, trajectories)
