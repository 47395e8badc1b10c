"""Find converged settings for a labeller, using a few structures of a dataset.

Each setting, such as a cutoff, is varied alone, while the others keep a moderate value: the error of a setting hardly
depends on the others. The error is the difference from the result with the most expensive value. Each structure is
computed twice, the second time expanded, so that the error of relative energies is known: the error that both energies
share cancels, as it does in the training of a potential.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.units import GPa

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.labelling.label import Failure, Label
from aiida_mlip_autopipe.structures.vacuum import extended_directions, is_few_atoms

EXPANSION = 1.02
"""Factor by which the lengths of each structure are multiplied in its expanded copy."""

MIN_VALUES = 3
"""The cheapest value, the moderate one and the reference."""
SAME = 1e-9
"""Structures whose features differ by less than this count as the same."""

Evaluate = Callable[[dict[str, Any], Sequence[Atoms]], Sequence[Label | Failure]]
"""Computes structures with the settings of a labeller, as JSON."""


@dataclass(frozen=True)
class Series:
    """The values of a setting.

    Attributes
    ----------
    name
        The setting, such as ``plane_wave_cutoff_eV`` or ``parameters.encut``.
    values
        At least three values, from the cheapest to the most expensive one, which is the reference.
    """

    name: str
    values: tuple[float, ...]

    @property
    def moderate(self) -> float:
        """The value of this setting while another one is varied: the second one."""
        return self.values[1]


DEFAULT_SERIES = (
    Series('plane_wave_cutoff_eV', (300.0, 400.0, 500.0, 600.0, 700.0, 800.0, 1000.0)),
    Series('kspacing_per_A', (0.7, 0.5, 0.4, 0.3, 0.25, 0.2)),
)


def parse_series(text: str) -> Series:
    """Return the series that a user wrote as ``name=value,value,value``.

    Raises
    ------
    AutopipeError
        If the text has a different form or fewer than three different numbers.
    """
    name, _, listed = text.partition('=')
    try:
        values = tuple(float(value) for value in listed.split(','))
    except ValueError:
        values = ()
    if not name.strip() or len(set(values)) < max(MIN_VALUES, len(values)):
        raise AutopipeError(
            Code.WRONG_PATTERN,
            f'--vary {text!r}: write the setting and at least {MIN_VALUES} different numbers, from the cheapest to the '
            'most expensive one, such as plane_wave_cutoff_eV=300,400,600,800',
        )
    return Series(name.strip(), values)


@dataclass(frozen=True)
class Point:
    """The errors at one value of a setting, relative to the most expensive value.

    Attributes
    ----------
    value
        The value.
    force_error_eV_A
        Largest root mean square difference of the force components of a structure, in eV/Å.
    energy_error_eV
        Largest error of a relative energy (that between a structure and its expanded copy) in eV/atom.
    stress_error_GPa
        Largest error of a component of the stress in GPa; None without stresses.
    seconds
        Time in seconds for all structures.
    """

    value: float
    force_error_eV_A: float
    energy_error_eV: float
    stress_error_GPa: float | None
    seconds: float


@dataclass(frozen=True)
class Converged:
    """What was found for one setting.

    Attributes
    ----------
    series
        The setting.
    points
        The errors at each value.
    recommended
        The cheapest value at which, and beyond which, all errors are small enough; None if only the most expensive
        value, whose error is unknown, and values with the same labels remain. If all labels are the same, the cheapest
        value.
    failed
        The structures that could not be computed at each value, by index, with the reason.
    """

    series: Series
    points: tuple[Point, ...]
    recommended: float | None
    failed: dict[int, str]


def choose_structures(structures: Sequence[Atoms], n_structures: int, max_atoms: int | None = None) -> list[int]:
    """Return the indices of structures with different compositions, sizes and vacuum.

    The smallest structure is the first. Each further one is the one that differs most from those already chosen. One
    to three atoms in vacuum are chosen only if there is nothing else.

    Parameters
    ----------
    structures
        All structures.
    n_structures
        How many to choose.
    max_atoms
        Larger structures are not chosen.
    """
    allowed = [index for index, atoms in enumerate(structures) if max_atoms is None or len(atoms) <= max_atoms]
    condensed = [index for index in allowed if not is_few_atoms(structures[index])]
    candidates = condensed or allowed
    if not candidates:
        raise AutopipeError(Code.TOO_MANY_ATOMS, f'no structure is within the limit max_atoms: {max_atoms}')
    features = _features([structures[index] for index in candidates])
    chosen = [int(np.argmin([len(structures[index]) for index in candidates]))]
    distances = np.full(len(candidates), np.inf)
    while len(chosen) < n_structures:
        distances = np.minimum(distances, np.linalg.norm(features - features[chosen[-1]], axis=1))
        if distances.max() < SAME:
            break
        chosen.append(int(np.argmax(distances)))
    return [candidates[one] for one in chosen]


def _features(structures: Sequence[Atoms]) -> np.ndarray:
    """Return fractions of elements, the logarithm of the number of atoms, and the number of directions with vacuum."""
    symbols = sorted(set().union(*(atoms.symbols for atoms in structures)))
    fractions = [[atoms.get_chemical_symbols().count(one) / len(atoms) for one in symbols] for atoms in structures]
    sizes = np.log2([len(atoms) for atoms in structures])[:, None] / 4
    extended = [[extended_directions(atoms).sum() / 3] for atoms in structures]
    return np.hstack([fractions, sizes, extended])


def expanded(atoms: Atoms) -> Atoms:
    """Return a copy of a structure in which all lengths are larger by the factor `EXPANSION`."""
    copy = atoms.copy()
    copy.set_constraint()
    copy.set_cell(atoms.cell * EXPANSION)
    copy.positions *= EXPANSION
    return copy


def settings_with(settings: Mapping[str, Any], changes: Mapping[str, float]) -> dict[str, Any]:
    """Return the settings of a labeller with some values replaced.

    Parameters
    ----------
    settings
        The settings as JSON.
    changes
        The new values by name, such as ``plane_wave_cutoff_eV`` or ``parameters.encut``.

    Raises
    ------
    AutopipeError
        If the settings have no such key.
    """
    changed: dict[str, Any] = deepcopy(dict(settings))
    for name, value in changes.items():
        *parents, last = name.split('.')
        section: Any = changed
        for parent in parents:
            section = section.get(parent) if isinstance(section, dict) else None
        if not isinstance(section, dict) or last not in section:
            raise AutopipeError(
                Code.KEY_UNKNOWN, f'{name}: the settings have no such key; the keys are {", ".join(settings)}'
            )
        section[last] = value
    return changed


def recommended_settings(results: Sequence[Converged]) -> dict[str, Any]:
    """Return the recommended values with their names as nested keys."""
    settings: dict[str, Any] = {}
    for one in results:
        if one.recommended is not None:
            *parents, last = one.series.name.split('.')
            section = settings
            for parent in parents:
                section = section.setdefault(parent, {})
            section[last] = one.recommended
    return settings


def points_of(series: Sequence[Series]) -> list[dict[str, float]]:
    """Return the values with which structures are computed: each setting is varied while the others are moderate."""
    moderate = {one.name: one.moderate for one in series}
    points = [moderate | {one.name: value} for one in series for value in one.values]
    return [point for number, point in enumerate(points) if point not in points[:number]]


def converge(
    structures: Sequence[Atoms],
    settings: Mapping[str, Any],
    series: Sequence[Series],
    evaluate: Evaluate,
    *,
    force_error_eV_A: float,
    energy_error_eV: float,
) -> list[Converged]:
    """Return the errors of the values of some settings, and the cheapest values that are accurate enough.

    The errors of several settings add up, so each may have an equal share of the requested errors.

    Parameters
    ----------
    structures
        The structures, without their expanded copies.
    settings
        Settings of the labeller as JSON.
    series
        The settings that are varied, and their values.
    evaluate
        Computes structures.
    force_error_eV_A, energy_error_eV
        Requested errors of force components in eV/Å, and of relative energies in eV/atom.
    """
    probes = [*structures, *map(expanded, structures)]
    labels = [(point, evaluate(settings_with(settings, point), probes)) for point in points_of(series)]
    moderate = {one.name: one.moderate for one in series}
    limits = force_error_eV_A / len(series), energy_error_eV / len(series)
    results = []
    for one in series:
        found = [next(labelled for point, labelled in labels if point == moderate | {one.name: v}) for v in one.values]
        results.append(_compare(one, found, len(structures), limits))
    return results


def _compare(
    series: Series, labels: Sequence[Sequence[Label | Failure]], n_structures: int, limits: tuple[float, float]
) -> Converged:
    """Compare the labels (one list for each value) with those of the last value."""
    failed: dict[int, str] = {}
    for index in range(n_structures):
        for value, labelled in zip(series.values, labels, strict=True):
            for outcome in (labelled[index], labelled[index + n_structures]):
                if isinstance(outcome, Failure):
                    failed.setdefault(index, f'{series.name} {value:g}: {outcome.reason}')
    used = [index for index in range(n_structures) if index not in failed]
    if not used:
        raise AutopipeError(
            Code.CALCULATION_UNCONVERGED, f'no structure could be computed: {next(iter(failed.values()))}'
        )
    points = tuple(
        _point(value, labelled, labels[-1], used, n_structures)
        for value, labelled in zip(series.values, labels, strict=True)
    )
    accurate = [point.force_error_eV_A <= limits[0] and point.energy_error_eV <= limits[1] for point in points]
    first = next(number for number in range(len(points)) if all(accurate[number:]))
    # Values with identical labels, such as spacings that give one mesh of k-points, are a single calculation.
    differs = [point.force_error_eV_A > 0 or point.energy_error_eV > 0 for point in points]
    reference = next(number for number in range(len(points)) if not any(differs[number:]))
    recommended = series.values[first] if first < reference or reference == 0 else None
    return Converged(series, points, recommended, failed)


def _point(
    value: float, labels: Sequence[Any], reference: Sequence[Any], used: Sequence[int], n_structures: int
) -> Point:
    copies = [index + n_structures for index in used]
    forces = [np.sqrt(np.mean((labels[one].forces_eV_A - reference[one].forces_eV_A) ** 2)) for one in [*used, *copies]]
    energies = [
        abs(_relative_energy(labels, index, n_structures) - _relative_energy(reference, index, n_structures))
        for index in used
    ]
    stresses = [
        np.abs(labels[one].stress_eV_A3 - reference[one].stress_eV_A3).max() / GPa
        for one in [*used, *copies]
        if reference[one].stress_eV_A3 is not None
    ]
    return Point(
        value=value,
        force_error_eV_A=float(max(forces)),
        energy_error_eV=float(max(energies)),
        stress_error_GPa=float(max(stresses)) if stresses else None,
        seconds=sum(one.seconds for one in labels),
    )


def _relative_energy(labels: Sequence[Label], index: int, n_structures: int) -> float:
    """Return the energy of the expanded copy relative to the structure, in eV/atom."""
    structure, copy = labels[index], labels[index + n_structures]
    return (copy.energy_eV - structure.energy_eV) / len(structure.forces_eV_A)
