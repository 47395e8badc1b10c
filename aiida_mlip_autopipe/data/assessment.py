"""The node of an assessment: what rounds need to know about a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from aiida import orm
from ase import Atoms

from aiida_mlip_autopipe.assessment.assessment import Assessment
from aiida_mlip_autopipe.assessment.contract import HotRun
from aiida_mlip_autopipe.assessment.predictions import Predictions
from aiida_mlip_autopipe.data.dataset import structures_in
from aiida_mlip_autopipe.data.evaluation import frames_to_evaluate
from aiida_mlip_autopipe.data.schema_version import check_schema, set_schema
from aiida_mlip_autopipe.data.trajectory import sort_trajectories, trajectory_id
from aiida_mlip_autopipe.rounds.dimers import DimerCurve

ASSESSMENT_NODE_VERSION = 1
"""Version of the content of an assessment node."""
ARRAYS = ('n_atoms', 'numbers', 'energies', 'forces', 'stresses')
OTHER_PREFIX = 'other_'
DISTANCES, DIMER_ENERGIES = 'dimer_distances', 'dimer_energies'


def frames_to_assess(inputs: Mapping[str, Any]) -> list[Atoms]:
    """Return the frames that an assessment evaluates: rows of its dataset, then the frames of its legs, by seed."""
    seeds = {seed.seed_id: seed for seed in inputs.get('seeds', {}).values()}
    frames = structures_in(inputs['dataset'], inputs['rows'].get_list()) if 'dataset' in inputs else []
    for leg in sort_trajectories(inputs.get('legs', {}).values()):
        frames += frames_to_evaluate(leg, seeds[leg.base.attributes.get('seed_id')])
    return frames


def other_structures(inputs: Mapping[str, Any]) -> list[Atoms]:
    """Return the structures of other chemical systems that an assessment evaluates."""
    if 'other_chemistry' not in inputs:
        return []
    return structures_in(
        inputs['other_chemistry'], range(inputs['other_chemistry'].base.attributes.get('n_structures'))
    )


def node_from_assessment(assessment: Assessment, about: dict[str, Any]) -> orm.ArrayData:
    """Return an unstored node for an assessment.

    Parameters
    ----------
    assessment
        The assessment.
    about
        Provenance of the model, stored as an attribute.

    Returns
    -------
    aiida.orm.ArrayData
        The arrays ``n_atoms``, ``numbers``, ``energies``, ``forces`` and ``stresses`` of the frames, as in
        `Predictions`, the same arrays of the structures of other chemical systems with the prefix ``other_``, and the
        distances and energies of the dimers. Missing values are NaN. The attributes ``n_failed``, ``n_other_failed``,
        ``n_hot_runs`` and ``n_survived`` are for queries.
    """
    arrays = {name: getattr(assessment.frames, name) for name in ARRAYS}
    arrays |= {OTHER_PREFIX + name: getattr(assessment.other_chemistry, name) for name in ARRAYS}
    if assessment.dimers:
        arrays[DISTANCES] = np.array([one.distances_A for one in assessment.dimers.values()])
        arrays[DIMER_ENERGIES] = np.array([one.energies_eV for one in assessment.dimers.values()])
    node = orm.ArrayData(arrays)
    set_schema(node, ASSESSMENT_NODE_VERSION)
    node.base.attributes.set_many(
        {
            'rows': list(assessment.rows),
            'trajectory_ids': list(assessment.trajectories),
            'n_frames': list(assessment.trajectories.values()),
            'pairs': list(assessment.dimers),
            'hot_runs': [one.model_dump(mode='json') for one in assessment.hot_runs],
            'n_failed': int((~assessment.frames.finite).sum()),
            'n_other_failed': int((~assessment.other_chemistry.finite).sum()),
            'n_hot_runs': len(assessment.hot_runs),
            'n_survived': sum(one.survived for one in assessment.hot_runs),
            'about': about,
        }
    )
    return node


def assessment_from_node(node: orm.ArrayData) -> Assessment:
    """Return the assessment that a node stores.

    Raises
    ------
    SchemaVersionError
        If the node was written by a version of the package that this version cannot read.
    """
    check_schema(node, ASSESSMENT_NODE_VERSION)
    attributes = node.base.attributes.all
    pairs, dimers = attributes['pairs'], {}
    if pairs:
        curves = zip(pairs, node.get_array(DISTANCES), node.get_array(DIMER_ENERGIES), strict=True)
        dimers = {pair: DimerCurve(distances, energies) for pair, distances, energies in curves}
    return Assessment(
        Predictions(**{name: node.get_array(name) for name in ARRAYS}),
        tuple(attributes['rows']),
        dict(zip(attributes['trajectory_ids'], attributes['n_frames'], strict=True)),
        Predictions(**{name: node.get_array(OTHER_PREFIX + name) for name in ARRAYS}),
        dimers,
        tuple(HotRun.model_validate(one) for one in attributes['hot_runs']),
    )


def trajectory_sizes(inputs: Mapping[str, Any]) -> dict[str, int]:
    """Return the number of frames of each leg of an assessment by its trajectory id, in order."""
    legs = sort_trajectories(inputs.get('legs', {}).values())
    return {trajectory_id(leg): len(leg.get_stepids()) for leg in legs}
