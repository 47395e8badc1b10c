"""Which ensemble suits a structure, and whether the one asked for can be had."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from ase import Atoms
from ase.data import covalent_radii

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.structures.seed import fixed_mask
from aiida_mlip_autopipe.structures.vacuum import empty_layers

Ensemble = Literal['nve', 'nvt', 'npt']
AXES = 'abc'


class EnsembleRefusedError(AutopipeError):
    """An ensemble that makes no sense for a structure."""


@dataclass(frozen=True)
class EnsembleChoice:
    """The ensemble to sample, and why."""

    ensemble: Ensemble
    reason: str


def choose_ensemble(atoms: Atoms, asked: str, vacuum_A: float, has_stress: bool = True) -> EnsembleChoice:
    """Choose the ensemble.

    Parameters
    ----------
    atoms
        The structure.
    asked
        ``auto``, ``nve``, ``nvt`` or ``npt``.
    vacuum_A
        An empty layer of at least this thickness in Å, less the covalent radii, is vacuum.
    has_stress
        Whether the calculator gives the stress.

    Raises
    ------
    EnsembleRefusedError
        If NPT is asked for and impossible, or nothing can move.
    """
    fixed = fixed_mask(atoms)
    if fixed.all() or (len(atoms) == 1 and not fixed.any()):
        raise EnsembleRefusedError(
            Code.NOTHING_MOVES,
            'every atom is fixed; nothing can move'
            if fixed.all()
            else 'the structure is a single atom, which cannot move against anything; make a supercell',
        )
    obstacle = find_npt_obstacle(atoms, vacuum_A, has_stress)
    if asked == 'auto':
        if obstacle:
            return EnsembleChoice('nvt', obstacle)
        return EnsembleChoice('npt', f'periodic in three directions, no empty layer of {vacuum_A:g} Å')
    if asked == 'npt':
        if obstacle:
            raise EnsembleRefusedError(Code.ENSEMBLE_IMPOSSIBLE, f'NPT is not possible: {obstacle}; choose nvt or auto')
        return EnsembleChoice('npt', 'set by the user')
    return EnsembleChoice('nve' if asked == 'nve' else 'nvt', 'set by the user')


def find_npt_obstacle(atoms: Atoms, vacuum_A: float, has_stress: bool = True) -> str | None:
    """Return why a structure cannot be explored at constant pressure; None if it can."""
    open_axes = [axis for axis, periodic in zip(AXES, atoms.pbc, strict=True) if not periodic]
    if open_axes:
        return f'not periodic along {", ".join(open_axes)}'
    layers = empty_layers(atoms, covalent_radii[atoms.numbers])
    widest = int(np.argmax(layers))
    if layers[widest] >= vacuum_A:
        return f'an empty layer of {layers[widest]:.1f} Å across {AXES[widest]}'
    n_fixed = int(fixed_mask(atoms).sum())
    if n_fixed:
        return f'{n_fixed} fixed atoms, which a change of the cell would move'
    if not has_stress:
        return 'the calculator gives no stress'
    return None
