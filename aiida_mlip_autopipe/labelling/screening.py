"""Which structures are labelled. Unphysical and very large ones are left out, before they cost hours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.labelling.base import LabellingSettings
from aiida_mlip_autopipe.structures.distances import find_overlap

DIMER = 'dimer'
"""Kind of the rows of dimers and trimers, which have a separate limit for the forces."""


@dataclass(frozen=True)
class LeftOut:
    """A structure that is not labelled.

    Attributes
    ----------
    index
        Index of the structure.
    value
        The value that exceeds the limit, in the unit of the setting.
    limit
        The limit.
    """

    index: int
    value: float
    limit: float


@dataclass(frozen=True)
class Screening:
    """The structures of a dataset that are labelled, and those that are not.

    Attributes
    ----------
    kept
        Indices of the structures that are labelled, in ascending order.
    left_out
        The other structures by the name of the setting that excludes them. Each is listed once.
    """

    kept: tuple[int, ...]
    left_out: dict[str, tuple[LeftOut, ...]]


def screen_structures(
    structures: Sequence[Atoms],
    forces: Sequence[np.ndarray | None],
    kinds: Sequence[str | None],
    settings: LabellingSettings,
) -> Screening:
    """Decide which structures are labelled.

    A structure is left out if it has more than ``max_atoms`` atoms, if two atoms are closer than ``min_distance`` times
    the sum of their covalent radii, or if a force exceeds ``max_force_eV_A`` (for dimers and trimers
    ``max_force_dimers_eV_A``). The forces are those of the exploration, which are known before labelling.

    Parameters
    ----------
    structures
        The structures.
    forces
        For each structure, the forces (n, 3) in eV/Å of the calculator of the exploration; None if unknown.
    kinds
        The kind of the seed of each structure, if known.
    settings
        The limits.
    """
    kept: list[int] = []
    left_out: dict[str, list[LeftOut]] = {}
    for index, (atoms, found, kind) in enumerate(zip(structures, forces, kinds, strict=True)):
        broken = next(_broken_limits(atoms, found, kind, settings), None)
        if broken is None:
            kept.append(index)
        else:
            rule, value, limit = broken
            left_out.setdefault(rule, []).append(LeftOut(index, value, limit))
    return Screening(tuple(kept), {rule: tuple(found) for rule, found in left_out.items()})


def _broken_limits(
    atoms: Atoms, forces: np.ndarray | None, kind: str | None, settings: LabellingSettings
) -> Iterator[tuple[str, float, float]]:
    """Yield the name of each setting that excludes a structure, with the value and the limit."""
    if settings.max_atoms is not None and len(atoms) > settings.max_atoms:
        yield 'max_atoms', len(atoms), settings.max_atoms
    limit = settings.min_distance
    overlap = find_overlap(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc, limit)
    if overlap is not None:
        yield 'min_distance', overlap.ratio, limit
    rule = 'max_force_dimers_eV_A' if kind == DIMER else 'max_force_eV_A'
    max_force = getattr(settings, rule)
    if forces is not None and max_force is not None:
        largest = float(np.linalg.norm(forces, axis=1).max())
        # A force that is not a number is not below any limit.
        if not largest <= max_force:
            yield rule, largest, max_force
