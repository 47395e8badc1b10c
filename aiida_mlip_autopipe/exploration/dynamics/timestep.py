"""The time step of the dynamics, derived from the lightest atom that may move."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.structures.seed import fixed_mask

# Automatic time step of an atom of 1 u in fs. The period of a vibration is proportional to the square root of the mass.
# This is at most a tenth of the period of the stiffest bonds of hydrogen (8 to 9 fs) and oxygen (21 fs in O₂).
FS_PER_ROOT_MASS = 0.35
MIN_FS, MAX_FS = 0.25, 2.0
# Maximum time step, divided by the automatic one before its limits are applied. With a longer one, the stiffest bonds
# have fewer than about seven steps per period. Verlet's algorithm diverges at π steps per period.
TOO_LONG = 3.0


def automatic_timestep(atoms: Atoms) -> float:
    """Return a time step in fs for the lightest atom that may move.

    The time step is 0.35 fs times the square root of the mass in u: 0.35 fs for hydrogen and 1.4 fs for oxygen. It is
    at least 0.25 fs and at most 2 fs.
    """
    return float(np.clip(FS_PER_ROOT_MASS * np.sqrt(_lightest(atoms)[1]), MIN_FS, MAX_FS))


def describe_long_timestep(timestep_fs: float, atoms: Atoms) -> str | None:
    """Return a sentence without a full stop if a time step is too long for the lightest atom; None if it is not.

    Parameters
    ----------
    timestep_fs
        The time step in fs.
    atoms
        The structure.
    """
    symbol, mass = _lightest(atoms)
    limit = TOO_LONG * FS_PER_ROOT_MASS * mass**0.5
    if timestep_fs <= limit:
        return None
    return (
        f'the time step of {timestep_fs:g} fs is too long for {symbol}, whose bonds need at most {limit:.2g} fs; '
        f'the default is {automatic_timestep(atoms):.2g} fs'
    )


def _lightest(atoms: Atoms) -> tuple[str, float]:
    """Return symbol and mass in u of the lightest atom that may move."""
    masses = np.where(fixed_mask(atoms), np.inf, atoms.get_masses())
    lightest = int(masses.argmin())
    return atoms.symbols[lightest], float(masses[lightest])
