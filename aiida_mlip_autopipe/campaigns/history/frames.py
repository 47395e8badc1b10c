"""Built-in queries about the explored frames and the rows of datasets. The results are pandas DataFrames."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from aiida import orm
from aiida.common import LinkType
from ase import Atoms
from ase.formula import Formula

from aiida_mlip_autopipe.campaigns.history.queries import choose_campaigns, table
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.data.trajectory import trajectory_from_node
from aiida_mlip_autopipe.structures.rows.row import empirical_formula
from aiida_mlip_autopipe.workflows.graph import find_parts

if TYPE_CHECKING:
    import pandas as pd

FRAMES = (
    'campaign',
    'seed_id',
    'step',
    'composition',
    'n_atoms',
    'energy_eV',
    'max_force_eV_A',
    'temperature_K',
    'calculator',
    'frame',
    'trajectory',
)
ROWS = (
    'campaign',
    'row',
    'seed_id',
    'step',
    'kind',
    'composition',
    'n_atoms',
    'energy_eV',
    'max_force_eV_A',
    'label_source',
    'split',
    'dataset',
)


def find_frames(
    campaign: orm.WorkChainNode | str | None = None,
    *,
    min_force_eV_A: float | None = None,
    composition: str | None = None,
) -> pd.DataFrame:
    """Return the explored frames of campaigns, by their largest force and their composition.

    Parameters
    ----------
    campaign
        A campaign, or its pk, uuid or name; by default, all campaigns of the profile.
    min_force_eV_A
        Return only frames in which the force on an atom is at least this large, in eV/Å.
    composition
        Return only frames of this composition, such as ``Cu3Au``, whatever their number of atoms.

    Returns
    -------
    pandas.DataFrame
        For each frame: the name of the campaign, the seed, the absolute step, the composition, the number of atoms, the
        energy in eV, the largest force in eV/Å, the temperature in K, the calculator, and the index in the trajectory
        with the pk of that node.

    Raises
    ------
    AutopipeError
        If the campaign does not exist, or the composition is not a formula.
    """
    wanted = _reduced(composition)
    rows: list[tuple[Any, ...]] = []
    for name, leg, seed_id, calculator, symbols in _legs(choose_campaigns(campaign)):
        formula = empirical_formula(Atoms(symbols).numbers)
        if wanted is not None and formula != wanted:
            continue
        frames = trajectory_from_node(orm.load_node(leg))
        forces = np.sqrt((frames.forces**2).sum(axis=2)).max(axis=1)
        rows += [
            (
                name,
                seed_id,
                int(frames.steps[index]),
                formula,
                len(symbols),
                float(frames.energies[index]),
                float(forces[index]),
                float(frames.temperatures[index]),
                calculator,
                index,
                leg,
            )
            for index in range(len(frames))
            if min_force_eV_A is None or forces[index] >= min_force_eV_A
        ]
    return table(FRAMES, rows)


def find_rows(
    campaign: orm.WorkChainNode | str | None = None,
    *,
    min_force_eV_A: float | None = None,
    composition: str | None = None,
) -> pd.DataFrame:
    """Return the rows of the datasets of campaigns, by their largest force and their composition.

    Parameters
    ----------
    campaign
        A campaign, or its pk, uuid or name; by default, all campaigns of the profile that have a dataset.
    min_force_eV_A
        Return only rows in which the force on an atom is at least this large, in eV/Å.
    composition
        Return only rows of this composition, such as ``Cu3Au``, whatever their number of atoms.

    Returns
    -------
    pandas.DataFrame
        For each row: the name of the campaign, the id of the row, the seed and the step of its frame, the kind of the
        seed, the composition, the number of atoms, the energy in eV, the largest force in eV/Å, the source of the
        labels, the set, and the pk of the dataset.

    Raises
    ------
    AutopipeError
        If the campaign does not exist, or the composition is not a formula.
    """
    wanted = _reduced(composition)
    rows = []
    for name, dataset in _datasets(choose_campaigns(campaign)):
        for row in dataset.rows():
            force = float(np.linalg.norm(row.labels['forces'], axis=1).max())
            too_small = min_force_eV_A is not None and force < min_force_eV_A
            if too_small or wanted not in (None, row.empirical_formula):
                continue
            # Rows of imported datasets have no provenance.
            origin = row.provenance if 'provenance' in row.data else None
            rows.append(
                (
                    name,
                    row.id,
                    origin and origin.seed_id,
                    origin and origin.step,
                    row.key_value_pairs.get('kind'),
                    row.empirical_formula,
                    len(row.atoms),
                    float(row.labels['energy']),
                    force,
                    row.key_value_pairs.get('label_source'),
                    origin and origin.split,
                    dataset.pk,
                )
            )
    return table(ROWS, rows)


def _reduced(composition: str | None) -> str | None:
    if composition is None:
        return None
    try:
        numbers = Atoms(str(Formula(composition).reduce()[0])).numbers
    except (ValueError, KeyError) as error:
        raise AutopipeError(
            Code.FORMULA_INVALID, f'{composition!r} is not a composition; write a formula such as Cu3Au'
        ) from error
    if not len(numbers):
        raise AutopipeError(Code.FORMULA_INVALID, f'{composition!r} has no elements')
    return empirical_formula(numbers)


def _legs(names: dict[int, str]) -> Iterator[tuple[str, int, str, str, list[str]]]:
    """Yield each leg of each exploration: campaign, pk, seed, calculator and symbols, in order of the explorations."""
    parts = {part.pk: name for pk, name in names.items() for part in find_parts(orm.load_node(pk))}
    query = orm.QueryBuilder()
    query.append(orm.WorkChainNode, filters={'id': {'in': list(parts)}}, tag='campaign', project='id')
    query.append(orm.WorkChainNode, with_incoming='campaign', tag='exploration', project='id')
    query.append(
        orm.TrajectoryData,
        with_incoming='exploration',
        edge_filters={'type': LinkType.RETURN.value, 'label': {'like': r'legs\_\_%'}},
        project=['id', 'attributes.seed_id', 'attributes.about.calculator_name', 'attributes.symbols'],
    )
    for campaign, _, *leg in sorted(query.all(), key=lambda row: row[:3]):
        yield (parts[campaign], *leg)


def _datasets(names: dict[int, str]) -> list[tuple[str, DatasetData]]:
    query = orm.QueryBuilder()
    query.append(orm.WorkChainNode, filters={'id': {'in': list(names)}}, tag='campaign', project='id')
    returned = {'type': LinkType.RETURN.value, 'label': 'dataset'}
    query.append(DatasetData, with_incoming='campaign', edge_filters=returned, project='*')
    return [(names[pk], dataset) for pk, dataset in sorted(query.all(), key=lambda row: row[0])]
