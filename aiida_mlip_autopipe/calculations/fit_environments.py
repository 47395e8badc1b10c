"""A calcfunction that fits the principal components of the atomic environments."""

from __future__ import annotations

from collections.abc import Mapping

from aiida import orm
from aiida.engine import ExitCode, calcfunction

from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.data.trajectory import sort_trajectories, trajectories_from_nodes
from aiida_mlip_autopipe.descriptors.soap.settings import SoapSettings
from aiida_mlip_autopipe.sampling.pool import describe

ERROR_DESCRIPTORS = 400


@calcfunction
def fit_environments(
    descriptor: orm.Dict, species: orm.List, stage_version: orm.Str, **nodes: Mapping[str, orm.TrajectoryData]
) -> Mapping[str, orm.Data] | ExitCode:
    """Fit principal components to a sample of all frames. Jobs project the environments onto these components.

    Parameters
    ----------
    descriptor
        The settings of SOAP.
    species
        Atomic numbers that the descriptor covers.
    stage_version
        Version of this function; increased when its results change.
    **nodes
        The namespace ``legs``: the frames.

    Returns
    -------
    dict
        ``pca``: the arrays ``mean``, ``directions`` and ``variances``.
    """
    trajectories = trajectories_from_nodes(sort_trajectories(nodes['legs'].values()))
    try:
        pca = describe.fit_environments(trajectories, species.get_list(), SoapSettings(**descriptor.get_dict()))
    except AutopipeError as error:
        return ExitCode(ERROR_DESCRIPTORS, str(error), invalidates_cache=True)
    arrays = {'mean': pca.mean, 'directions': pca.directions, 'variances': pca.variances}
    return {'pca': orm.ArrayData(arrays)}
