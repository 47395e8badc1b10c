"""Which labels are left out after labelling: only those that are physically wrong.

A label that is merely unusual is what a model has to learn. It is computed again in a different way, and kept if
both results agree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.labelling.base import Variation
from aiida_mlip_autopipe.labelling.label import Failure, Label, Rule
from aiida_mlip_autopipe.structures.plausibility import FEW_ATOMS, MAX_NET_FORCE, MIN_ROWS, find_outliers, net_force

ENERGY_LIMITS = (10.0, 1.0)
"""Deviation of an energy from a fit to the compositions above which a label is suspicious: in scaled median absolute
deviations, and in eV/atom."""
DIFFERENCE_LIMITS = (10.0, 0.1)
"""The same limits for the difference between the energies of the label and of the MLIP."""
FORCE_LIMITS = (10.0, 1.0)
"""Root mean square difference between the forces of a label and of the MLIP above which the label is suspicious: as a
multiple of the median over all structures, and in eV/Å."""
MAX_ENERGY_CHANGE = 0.005
"""Maximum difference between the energies of two calculations that agree, in eV/atom."""
MAX_FORCE_CHANGE = (0.05, 0.02)
"""Maximum difference between the forces on an atom in two calculations that agree: in eV/Å, plus a fraction of the
maximum force in the structure."""

SuspicionRule = Literal['energy_of_composition', 'energy_of_mlip', 'forces_of_mlip']
FaultRule = Rule | Literal['net_force', 'repeat_failed', 'repeat_differs']


@dataclass(frozen=True)
class Suspicion:
    """Why a label is computed again.

    Attributes
    ----------
    rule
        ``energy_of_composition``: the energy is far from a robust fit to the compositions of all structures.
        ``energy_of_mlip``: the energy is far from that of the MLIP, after an offset per element is removed.
        ``forces_of_mlip``: the forces are far from those of the MLIP.
    value
        The deviation in eV/atom or eV/Å.
    limit
        The limit of its magnitude for these structures, in the same unit.
    """

    rule: SuspicionRule
    value: float
    limit: float


@dataclass(frozen=True)
class Fault:
    """Why a label is left out.

    Attributes
    ----------
    rule
        The kind of the failure, or ``net_force``, ``repeat_failed`` or ``repeat_differs``.
    reason
        A sentence.
    """

    rule: FaultRule
    reason: str


def find_suspicious(
    structures: Sequence[Atoms],
    kinds: Sequence[str | None],
    labels: Sequence[Label],
    mlip: Sequence[tuple[float, np.ndarray] | None],
) -> dict[int, tuple[Suspicion, ...]]:
    """Return the labels that are far from those of similar structures or from the MLIP, by their indices.

    Isolated atoms, dimers and trimers are not checked: their energies are far from those of other structures, and an
    MLIP is often wrong there. Sets of fewer than 10 structures are too small for these checks.

    Parameters
    ----------
    structures
        The structures.
    kinds
        The kind of the seed of each structure, if known.
    labels
        The label of each structure.
    mlip
        The energy in eV and the forces (n, 3) in eV/Å of the MLIP for each structure; None if unknown.
    """
    checked = [index for index, kind in enumerate(kinds) if kind not in FEW_ATOMS]
    compared = {index: known for index in checked if (known := mlip[index]) is not None}
    energies = {index: labels[index].energy_eV for index in checked}
    differences = {index: labels[index].energy_eV - energy for index, (energy, _) in compared.items()}
    errors = {index: _rms(labels[index].forces_eV_A - forces) for index, (_, forces) in compared.items()}
    found: dict[int, list[Suspicion]] = {}
    for index, suspicion in (
        *_compare_energies('energy_of_composition', structures, energies, ENERGY_LIMITS),
        *_compare_energies('energy_of_mlip', structures, differences, DIFFERENCE_LIMITS),
        *_compare_forces(errors),
    ):
        found.setdefault(index, []).append(suspicion)
    return {index: tuple(found[index]) for index in sorted(found)}


def _compare_energies(
    rule: SuspicionRule, structures: Sequence[Atoms], energies: Mapping[int, float], limits: tuple[float, float]
) -> Iterator[tuple[int, Suspicion]]:
    indices = list(energies)
    symbols = [structures[index].get_chemical_symbols() for index in indices]
    for outlier in find_outliers(symbols, np.array(list(energies.values())), limits):
        limit = max(limits[1], limits[0] * abs(outlier.deviation) / outlier.in_mad)
        yield indices[outlier.index], Suspicion(rule, outlier.deviation, limit)


def _compare_forces(errors: Mapping[int, float]) -> Iterator[tuple[int, Suspicion]]:
    if len(errors) < MIN_ROWS:
        return
    limit = max(FORCE_LIMITS[1], FORCE_LIMITS[0] * float(np.median(list(errors.values()))))
    for index, error in errors.items():
        if error > limit:
            yield index, Suspicion('forces_of_mlip', error, limit)


def choose_variation(atoms: Atoms, variations: Sequence[Variation]) -> Variation | None:
    """Return what the repeated calculation of a structure changes; None if the labeller can change nothing.

    A structure with initial magnetic moments may have converged to another magnetic state, so its moments are changed
    first. For periodic structures the density of the k-points is increased, for others the SCF cycle mixes differently.

    Parameters
    ----------
    atoms
        The structure.
    variations
        What the labeller can change.
    """
    preferred: list[Variation] = []
    if atoms.get_initial_magnetic_moments().any():
        preferred.append('magnetic_start')
    if atoms.pbc.any():
        preferred.append('k_points')
    return next((one for one in (*preferred, 'mixing') if one in variations), None)


def find_fault(label: Label | Failure) -> Fault | None:
    """Return why a structure has no valid label: its calculation failed, or its net force is too large."""
    if isinstance(label, Failure):
        return Fault(label.rule, label.reason)
    net = net_force(label.forces_eV_A)
    if net > MAX_NET_FORCE:
        reason = f'the net force is {net:.3g} eV/Å per atom; at most {MAX_NET_FORCE:g} eV/Å is allowed'
        return Fault('net_force', reason)
    return None


def judge_repeat(first: Label, second: Label | Failure) -> Fault | None:
    """Compare a suspicious label with its repeated calculation.

    Parameters
    ----------
    first
        The suspicious label.
    second
        The result of the repeated calculation.

    Returns
    -------
    Fault or None
        None if both agree within `MAX_ENERGY_CHANGE` and `MAX_FORCE_CHANGE`. The first label is then kept.
    """
    if isinstance(second, Failure):
        return Fault('repeat_failed', f'the label is suspicious, and its repeated calculation failed: {second.reason}')
    n_atoms = len(first.forces_eV_A)
    energy = (second.energy_eV - first.energy_eV) / n_atoms
    force = float(np.linalg.norm(second.forces_eV_A - first.forces_eV_A, axis=1).max())
    largest = float(np.linalg.norm(first.forces_eV_A, axis=1).max())
    max_force = MAX_FORCE_CHANGE[0] + MAX_FORCE_CHANGE[1] * largest
    if abs(energy) <= MAX_ENERGY_CHANGE and force <= max_force:
        return None
    return Fault(
        'repeat_differs',
        f'a repeated calculation differs by {energy:+.3g} eV/atom and {force:.3g} eV/Å; at most {MAX_ENERGY_CHANGE:g} '
        f'eV/atom and {max_force:.3g} eV/Å are allowed',
    )


def _rms(differences: np.ndarray) -> float:
    """Return the root mean square of the magnitudes of vectors (n, 3)."""
    return float(np.sqrt((differences**2).sum(axis=1).mean()))
