"""A calcfunction that selects frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from aiida import orm
from aiida.engine import ExitCode, calcfunction

from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.data.selection import nodes_from_selection, request_from_nodes
from aiida_mlip_autopipe.data.trajectory import sort_trajectories

ERROR_SAMPLING = 400


@calcfunction
def select_frames(
    settings: orm.Dict,
    random_seed: orm.Int,
    groups: orm.Dict,
    kinds: orm.Dict,
    labels: orm.Dict,
    stage_version: orm.Str,
    reference_dataset: DatasetData | None = None,
    uncertainties: orm.ArrayData | None = None,
    **nodes: Mapping[str, orm.Data],
) -> Mapping[str, orm.Data] | ExitCode:
    """Select the frames of the dataset from all legs.

    Parameters
    ----------
    settings
        The config's ``sampling`` section without ``reference_dataset``.
    random_seed
        The campaign's random seed.
    groups
        The parent of each seed, by seed id.
    kinds
        The kind of each seed, by seed id.
    labels
        The label of the entry of each seed that has one, by seed id.
    stage_version
        Version of this function; increased when its results change.
    reference_dataset
        Existing structures that the dataset extends.
    uncertainties
        The disagreement of models about the frames, from `compare_models`.
    **nodes
        The namespaces ``legs`` (the frames), ``evaluations`` (those of a committee) and ``descriptors`` (those computed
        by jobs). The labels of the links have no meaning: each node stores the ids of its trajectories.

    Returns
    -------
    dict
        The nodes of `nodes_from_selection`.
    """
    inputs = {
        'settings': settings,
        'random_seed': random_seed,
        'groups': groups,
        'kinds': kinds,
        'labels': labels,
        **nodes,
        **({} if uncertainties is None else {'uncertainties': uncertainties}),
    }
    try:
        request = request_from_nodes(inputs)
        if reference_dataset is not None:
            request = replace(request, reference=reference_dataset.structures())
        selection = request.select()
    except AutopipeError as error:
        return ExitCode(ERROR_SAMPLING, str(error), invalidates_cache=True)
    return nodes_from_selection(selection, sort_trajectories(nodes['legs'].values()))
