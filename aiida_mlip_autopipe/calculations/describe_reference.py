"""A calcfunction that computes the environments of a reference dataset."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from aiida import orm
from aiida.engine import ExitCode, calcfunction
from ase.data import chemical_symbols

from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.descriptors.soap.settings import SoapSettings
from aiida_mlip_autopipe.exploration.novelty import reference
from aiida_mlip_autopipe.jobs.contract import REFERENCE_FILE

ERROR_REFERENCE = 400


@calcfunction
def describe_reference(
    reference_dataset: DatasetData,
    descriptor: orm.Dict,
    species: orm.List,
    stage_version: orm.Str,
    threshold_quantile: orm.Float | None = None,
) -> Mapping[str, orm.Data] | ExitCode:
    """Compute the environments of a reference dataset, which explorations compare their frames with.

    Parameters
    ----------
    reference_dataset
        The reference dataset.
    descriptor
        The settings of SOAP.
    species
        Atomic numbers that the descriptor covers.
    stage_version
        Version of this function; increased when its results change.
    threshold_quantile
        The quantile of the distances within the dataset that is the threshold.

    Returns
    -------
    dict
        ``environments``, the file for the jobs, and ``report``, with the elements that the descriptor covers, the
        numbers of structures and environments, and the threshold.
    """
    settings = SoapSettings(**descriptor.get_dict())
    quantile = None if threshold_quantile is None else threshold_quantile.value
    try:
        structures = reference_dataset.structures()
        found = reference.describe_reference(structures, species.get_list(), settings, quantile)
    except AutopipeError as error:
        return ExitCode(ERROR_REFERENCE, str(error), invalidates_cache=True)
    report = {
        'elements': [chemical_symbols[number] for number in found.species],
        'n_structures': len(structures),
        'n_environments': reference.count_environments(np.concatenate([atoms.numbers for atoms in structures])),
        'n_used': reference.count_environments(found.numbers),
        'threshold': found.threshold,
    }
    environments = orm.SinglefileData.from_bytes(found.dump(), filename=REFERENCE_FILE)
    return {'environments': environments, 'report': orm.Dict(report)}
