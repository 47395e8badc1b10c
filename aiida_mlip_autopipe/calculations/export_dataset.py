"""A calcfunction that writes the dataset."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import ExitCode, calcfunction

from aiida_mlip_autopipe.calculators.levels import has_accurate_stress, level_of_calculator
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.data.evaluation import evaluated_trajectories
from aiida_mlip_autopipe.data.original_job import original_job
from aiida_mlip_autopipe.data.seed import SeedData
from aiida_mlip_autopipe.data.trajectory import sort_trajectories, trajectory_id
from aiida_mlip_autopipe.jobs.environment import Environment
from aiida_mlip_autopipe.storage import Provenance, Row, make_row
from aiida_mlip_autopipe.storage import export_dataset as export
from aiida_mlip_autopipe.structures.disagreement import MEASURES
from aiida_mlip_autopipe.structures.rows.level import LevelOfTheory
from aiida_mlip_autopipe.structures.rows.provenance import EXTENDS, SOFTWARE, Software
from aiida_mlip_autopipe.structures.rows.splits import Role, Split
from aiida_mlip_autopipe.structures.trajectory import Trajectory

ERROR_STORAGE = 400


@calcfunction
def export_dataset(
    selection: orm.ArrayData,
    campaign: orm.Dict,
    random_seed: orm.Int,
    stage_version: orm.Str,
    drawn: orm.ArrayData | None = None,
    **nodes: Mapping[str, orm.Data],
) -> Mapping[str, orm.Data] | ExitCode:
    """Write the selected frames with their labels and provenance to an ASE database.

    Parameters
    ----------
    selection
        The selection from `select_frames`.
    campaign
        ``name`` and ``config_hash``, and ``extends`` if the campaign extends another one.
    random_seed
        The campaign's random seed.
    stage_version
        Version of this function; increased when its results change.
    drawn
        Frames that were drawn at random in a round, from `draw_random_frames`. Their rows are the first ones.
    **nodes
        The namespaces ``legs`` (the trajectories that the selection names), ``evaluations`` (those of a committee, for
        these legs) and ``seeds`` (the seeds of these legs). The labels of the links have no meaning.

    Returns
    -------
    dict
        ``dataset``: the database.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f'{campaign["name"]}.db'
        try:
            export(path, _rows(_frames(selection, drawn), campaign, random_seed.value, nodes))
        except AutopipeError as error:
            return ExitCode(ERROR_STORAGE, str(error), invalidates_cache=True)
        return {'dataset': DatasetData.from_file(path)}


@dataclass(frozen=True)
class _Frame:
    """A frame of the dataset."""

    trajectory_id: str
    index: int
    distance: float
    gain: float
    split: Split | None
    role: Role | None
    rank: int
    round: int | None = None


def _frames(selection: orm.ArrayData, drawn: orm.ArrayData | None) -> list[_Frame]:
    """Return the frames that were drawn at random, followed by the selected ones."""
    found = []
    for node in (drawn, selection):
        if node is None:
            continue
        names, splits = (node.base.attributes.get(name) for name in ('trajectory_ids', 'splits'))
        indices, distances, gains = (node.get_array(name).tolist() for name in ('frame', 'distance', 'gain'))
        roles = node.base.attributes.get('roles', [None] * len(names))
        ranks = range(len(names))
        found += [_Frame(*one) for one in zip(names, indices, distances, gains, splits, roles, ranks, strict=True)]
    if drawn is None:
        return found
    number = drawn.base.attributes.get('round')
    return [replace(one, split=one.split or 'train', round=number) for one in found]


def _rows(
    frames: Sequence[_Frame], campaign: orm.Dict, random_seed: int, nodes: Mapping[str, Mapping[str, orm.Data]]
) -> Iterator[Row]:
    leg_of = {trajectory_id(leg): leg for leg in sort_trajectories(nodes['legs'].values())}
    evaluations = nodes.get('evaluations', {}).values()
    evaluation_of = {trajectory_id(one): one for one in evaluations}
    trajectory_of = {one.trajectory_id: one for one in evaluated_trajectories(leg_of.values(), evaluations)}
    seed_of = {node.seed_id: node.to_seed() for node in nodes['seeds'].values() if isinstance(node, SeedData)}
    # A leg has many rows, and each of these needs several queries.
    read = cache(_Labels.of_node)
    for one in frames:
        name, index = one.trajectory_id, one.index
        trajectory, leg = trajectory_of[name], read(leg_of[name])
        seed = seed_of[trajectory.seed_id]
        targets = trajectory.extra.get('target_temperature_K')
        evaluation = read(evaluation_of[name]) if name in evaluation_of else None
        provenance = Provenance(
            campaign=campaign['name'],
            random_seed=random_seed,
            config_sha256=campaign['config_hash'],
            extends=campaign.get_dict().get(EXTENDS),
            seed_id=trajectory.seed_id,
            exploration=leg.job_uuid,
            step=int(trajectory.steps[index]),
            ensemble=leg.about['ensemble'],
            temperature_K=float(trajectory.temperatures[index]),
            target_temperature_K=None if targets is None else float(targets[index]),
            explored=leg.software,
            labelled=leg.software,
            rank=one.rank,
            split=one.split,
            distance=_finite_or_none(one.distance),
            gain=_finite_or_none(one.gain),
            round=one.round,
            role=one.role,
            **_committee(index, trajectory, evaluation),
            label_source=leg.level.name,
        )
        frame = trajectory.frame(index, template=seed.atoms)
        if not has_accurate_stress(frame, leg.level):
            frame.calc.results.pop('stress', None)
        yield make_row(frame, provenance, seed.record, leg.about.get('isolated_atom_energies_eV'), leg.level)


@dataclass(frozen=True)
class _Labels:
    """Where the labels of a leg or of an evaluation come from."""

    about: dict[str, Any]
    level: LevelOfTheory
    software: Software
    job_uuid: str

    @classmethod
    def of_node(cls, node: orm.Data) -> _Labels:
        about = node.base.attributes.get('about')
        return cls(about, level_of_labels(node, about), software_of(about), _job_uuid(node))


def _committee(index: int, trajectory: Trajectory, evaluation: _Labels | None) -> dict[str, Any]:
    """Return the committee fields of a row; empty if the committee did not evaluate the frame."""
    if evaluation is None or not np.isfinite(trajectory.extra[MEASURES[0]][index]):
        return {}
    measures = {name: _finite_or_none(trajectory.extra[name][index]) for name in MEASURES}
    return {
        'committee': evaluation.level.name,
        'committee_environment': evaluation.software.environment,
        **measures,
    }


def level_of_labels(labels: orm.Data, about: Mapping[str, Any]) -> LevelOfTheory:
    """Return the level of theory of the labels of a leg or an evaluation.

    Parameters
    ----------
    labels
        The node. The job that made it has the settings of the calculator as an input.
    about
        The part of the result of the job that the node stores.
    """
    settings = getattr(labels.creator.inputs, 'calculator', None)
    software = Environment.model_validate(about['environment'])
    return level_of_calculator(
        None if settings is None else settings.get_dict(),
        about['calculator_name'],
        about['model_name'],
        model_sha256=about['model_sha256'],
        precision=about.get('precision'),
        version=software.calculator,
        sources=software.sources,
    )


def software_of(about: Mapping[str, Any]) -> Software:
    """Return the calculator and the software of a job from the part of its result that a leg stores.

    For a label computed by a process of another plugin, there is no such result; the software itself is stored under
    `SOFTWARE`.
    """
    if SOFTWARE in about:
        return Software.model_validate(about[SOFTWARE])
    found = Environment.model_validate(about['environment'])
    versions = {f'{name}_version': getattr(found, name) for name in ('ase', 'calculator', 'torch', 'numpy', 'scipy')}
    module = (about['model_name'] or '').partition(':')[0]
    return Software(
        architecture=about['calculator_name'],
        model=about['model_name'],
        model_sha256=about['model_sha256'],
        package_version=about['versions']['package'],
        **versions,
        environment=found.identity,
        source_sha256=found.sources.get(module),
        precision=about.get('precision'),
    )


def _finite_or_none(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _job_uuid(leg: orm.Data) -> str:
    """Return the uuid of the job that computed a leg: the original job if the leg comes from the cache."""
    _, uuid = original_job(leg.creator)
    return uuid
