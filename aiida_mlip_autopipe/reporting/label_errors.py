"""The errors of an MLIP against reference labels, for rows that have both, and the cost of the labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from ase.units import GPa

from aiida_mlip_autopipe.reporting.temperatures import divide_temperatures
from aiida_mlip_autopipe.structures.plausibility import deviations_from_fit
from aiida_mlip_autopipe.structures.rows.labels import LABELLING, RowLabels, other_labels, present_labels
from aiida_mlip_autopipe.structures.rows.row import Row

FORCE_EDGES_eV_A = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, np.inf)
"""Limits of the intervals of the magnitude of a force."""
N_WORST = 10
"""Number of structures with the largest errors that are listed."""


@dataclass(frozen=True)
class Errors:
    """The errors of a group of structures.

    Attributes
    ----------
    n_structures, n_atoms
        Number of structures and atoms.
    energy_mae_eV_per_atom, energy_rmse_eV_per_atom
        Mean absolute and root mean square error of the energies, after an offset per element is removed; None for a
        group of atoms.
    force_mae_eV_A, force_rmse_eV_A
        The same errors of the components of the forces.
    stress_rmse_GPa
        Root mean square error of the components of the stress; None if no structure has both.
    """

    n_structures: int
    n_atoms: int
    energy_mae_eV_per_atom: float | None
    energy_rmse_eV_per_atom: float | None
    force_mae_eV_A: float
    force_rmse_eV_A: float
    stress_rmse_GPa: float | None


@dataclass(frozen=True, eq=False)
class ComparedLabels:
    """The labels of rows at two levels of theory.

    Attributes
    ----------
    rows
        The rows that have both.
    places
        Their indices in the dataset.
    reference, compared
        The reference labels, and those that are compared with them.
    energies
        Reference energies relative to a robust fit of one energy per element, in eV/atom (n,).
    energy_errors
        Energies minus reference energies in eV/atom (n,), after an offset per element is removed by a robust fit.
    force_errors
        Forces minus reference forces of each structure in eV/Å, (atoms, 3).
    """

    rows: tuple[Row, ...]
    places: tuple[int, ...]
    reference: tuple[RowLabels, ...]
    compared: tuple[RowLabels, ...]
    energies: np.ndarray
    energy_errors: np.ndarray
    force_errors: tuple[np.ndarray, ...]


def pair_labels(rows: Sequence[Row]) -> ComparedLabels | None:
    """Pair the labels of rows at two levels of theory.

    The reference is DFT if a row has DFT labels, otherwise its current labels. If the rows have several pairs of
    levels, the most frequent pair is used.

    Returns
    -------
    ComparedLabels or None
        None if no row has labels at two levels.
    """
    found = {place: pair for place, row in enumerate(rows) if (pair := _find_pair(row)) is not None}
    if not found:
        return None
    (levels, _), *_ = Counter(map(_levels, found.values())).most_common(1)
    places = tuple(place for place, pair in found.items() if _levels(pair) == levels)
    reference, compared = zip(*(found[place] for place in places), strict=True)
    symbols = [rows[place].atoms.get_chemical_symbols() for place in places]
    energies, others = (np.array([labels.results['energy'] for labels in side]) for side in (reference, compared))
    return ComparedLabels(
        rows=tuple(rows[place] for place in places),
        places=places,
        reference=reference,
        compared=compared,
        energies=deviations_from_fit(symbols, energies),
        energy_errors=deviations_from_fit(symbols, others - energies),
        force_errors=tuple(
            one.results['forces'] - other.results['forces'] for one, other in zip(compared, reference, strict=True)
        ),
    )


def describe_errors(labels: ComparedLabels) -> dict[str, Any]:
    """Return the errors as JSON types.

    Returns
    -------
    dict
        ``reference`` and ``compared`` are the names of the levels. ``all``, ``by_kind``, ``by_temperature_K`` and
        ``by_force_eV_A`` contain the fields of `Errors`. ``largest_energy_errors`` and ``largest_force_errors`` list
        structures with their row, kind, composition, temperature and errors.
    """
    intervals, order = divide_temperatures(labels.rows)
    kinds = [str(row.key_value_pairs.get('kind', 'structures')) for row in labels.rows]
    temperatures = _errors_by(labels, intervals)
    return {
        'reference': labels.reference[0].level.name,
        'compared': labels.compared[0].level.name,
        'all': asdict(_errors(labels, np.arange(len(labels.rows)))),
        'by_kind': dict(sorted(_errors_by(labels, kinds).items())),
        'by_temperature_K': {name: temperatures[name] for name in order if name in temperatures},
        'by_force_eV_A': _errors_by_force(labels),
        **_list_worst(labels),
    }


def measure_cost(rows: Sequence[Row]) -> dict[str, float] | None:
    """Return the cost of the current labels; None if no row records it.

    Returns
    -------
    dict
        ``n_rows`` that record it, ``n_repeated`` that needed several attempts, and the ``core_h`` of all, the
        ``median_core_s`` and the ``max_core_s`` of a structure.
    """
    records = [row.data[LABELLING] for row in rows if 'seconds' in row.data.get(LABELLING, {})]
    if not records:
        return None
    core_s = np.array([record['seconds'] * record.get('threads', 1) for record in records])
    return {
        'n_rows': len(records),
        'n_repeated': sum(len(record.get('attempts', ())) > 1 for record in records),
        'core_h': float(core_s.sum() / 3600),
        'median_core_s': float(np.median(core_s)),
        'max_core_s': float(core_s.max()),
    }


def _find_pair(row: Row) -> tuple[RowLabels, RowLabels] | None:
    """Return the reference labels of a row and those that are compared with them."""
    present = present_labels(row)
    found = [*([present] if present is not None else []), *other_labels(row).values()]
    if len(found) < 2:
        return None
    # Sorting is stable, so the current labels come before the others.
    reference, *rest = sorted(found, key=lambda labels: labels.level.method != 'dft')
    return reference, min(rest, key=lambda labels: labels.level.method != 'mlip')


def _levels(pair: tuple[RowLabels, RowLabels]) -> tuple[str, str]:
    return pair[0].level.hash, pair[1].level.hash


def _errors_by(labels: ComparedLabels, groups: Sequence[Hashable]) -> dict[Any, dict[str, Any]]:
    members: dict[Hashable, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    return {group: asdict(_errors(labels, np.array(indices))) for group, indices in members.items()}


def _errors(labels: ComparedLabels, indices: np.ndarray) -> Errors:
    energies = labels.energy_errors[indices]
    components = np.concatenate([labels.force_errors[index] for index in indices])
    stresses = [
        labels.compared[index].results['stress'] - labels.reference[index].results['stress']
        for index in indices
        if 'stress' in labels.compared[index].results and 'stress' in labels.reference[index].results
    ]
    return Errors(
        n_structures=len(indices),
        n_atoms=len(components),
        energy_mae_eV_per_atom=float(np.abs(energies).mean()),
        energy_rmse_eV_per_atom=_rms(energies),
        force_mae_eV_A=float(np.abs(components).mean()),
        force_rmse_eV_A=_rms(components),
        stress_rmse_GPa=_rms(np.array(stresses) / GPa) if stresses else None,
    )


def _errors_by_force(labels: ComparedLabels) -> dict[str, dict[str, Any]]:
    """Return the errors of the forces of atoms by the magnitude of the reference force."""
    errors = np.concatenate(labels.force_errors)
    norms = np.concatenate([np.linalg.norm(one.results['forces'], axis=1) for one in labels.reference])
    structures = np.repeat(np.arange(len(labels.rows)), [len(row.atoms) for row in labels.rows])
    found = {}
    for low, high in pairwise(FORCE_EDGES_eV_A):
        members = (norms >= low) & (norms < high)
        if members.any():
            name = f'{low:g}–{high:g}' if np.isfinite(high) else f'above {low:g}'
            mae, rmse = float(np.abs(errors[members]).mean()), _rms(errors[members])
            n_structures = len(np.unique(structures[members]))
            found[name] = asdict(Errors(n_structures, int(members.sum()), None, None, mae, rmse, None))
    return found


def _list_worst(labels: ComparedLabels) -> dict[str, list[dict[str, Any]]]:
    largest = np.array([np.linalg.norm(forces, axis=1).max() for forces in labels.force_errors])
    sizes = {'energy': np.abs(labels.energy_errors), 'force': largest}
    orders = {name: np.argsort(-values, kind='stable')[:N_WORST] for name, values in sizes.items()}
    return {
        f'largest_{name}_errors': [_describe(labels, int(index), float(largest[index])) for index in order]
        for name, order in orders.items()
    }


def _describe(labels: ComparedLabels, index: int, force_error: float) -> dict[str, Any]:
    row = labels.rows[index]
    pairs: Mapping[str, Any] = row.key_value_pairs
    return {
        'row': labels.places[index] if row.id is None else row.id,
        'seed': pairs.get('seed'),
        'step': pairs.get('step'),
        'kind': pairs.get('kind'),
        'formula': str(row.atoms.symbols.formula.format('hill')),
        'temperature_K': pairs.get('temperature'),
        'energy_error_eV_per_atom': float(labels.energy_errors[index]),
        'max_force_error_eV_A': force_error,
    }


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt((values**2).mean()))
