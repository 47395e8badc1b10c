"""Convergence of GPAW's SCF cycle, with further attempts after a failure.

An attempt changes only how the cycle reaches its result. Mixing and empty bands do not affect the result. After
converging with a wide smearing, the cycle continues from the resulting density with the original smearing. So the level
of theory is always the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ase import Atoms

from aiida_mlip_autopipe.calculators.attempts import Attempt, NotConvergedError
from aiida_mlip_autopipe.core.wording import counted

CHANGES = ('', 'mixing', 'bands', 'smearing')
"""What each attempt changes in addition to the changes of the attempts before it."""
# Small steps, damped at long wavelengths; GPAW's default for periodic structures is 0.05, 5 and 50.
MIXER = {'beta': 0.02, 'nmaxold': 8, 'weight': 100.0}
BANDS = '150%'
WIDE_SMEARING_EV = 0.5


def converge(
    atoms: Atoms,
    parameters: dict[str, Any],
    record: Callable[[Attempt], None],
    changes: tuple[str, ...] = CHANGES,
) -> None:
    """Attach a converged GPAW calculator to a structure.

    Parameters
    ----------
    atoms
        The structure.
    parameters
        Parameters of GPAW.
    record
        Receives each attempt as soon as it ends.
    changes
        What the attempts change.

    Raises
    ------
    NotConvergedError
        If no attempt converges.
    """
    from gpaw import KohnShamConvergenceError

    for number, change in enumerate(changes):
        started = time.monotonic()
        made = changes[: number + 1]
        try:
            _attempt(atoms, _changed(parameters, made), 'smearing' in made)
        except KohnShamConvergenceError:
            message = f'the SCF cycle did not converge in {counted(parameters["maxiter"], "step")}'
            record(Attempt(change, False, _n_steps(atoms), time.monotonic() - started, message))
        else:
            record(Attempt(change, True, _n_steps(atoms), time.monotonic() - started))
            return
    raise NotConvergedError(f'{message}, and no change helped ({", ".join(filter(None, changes))})')


def _changed(parameters: dict[str, Any], changes: tuple[str, ...]) -> dict[str, Any]:
    changed = dict(parameters)
    if 'mixing' in changes:
        changed['mixer'] = MIXER
    if 'bands' in changes:
        changed['nbands'] = BANDS
    return changed


def _attempt(atoms: Atoms, parameters: dict[str, Any], starts_wide: bool) -> None:
    from gpaw import GPAW

    atoms.calc = GPAW(**parameters, txt=None)
    if not starts_wide:
        atoms.get_potential_energy()
        return
    wanted = parameters['occupations']
    wide = {**wanted, 'width': max(WIDE_SMEARING_EV, 2 * wanted['width'])}
    calculator = GPAW(**parameters | {'occupations': wide}, txt=None)
    atoms.calc.create_new_calculation(atoms)
    occupations = atoms.calc.dft.scf_loop.occ_calc
    atoms.calc = calculator
    atoms.get_potential_energy()
    # GPAW has no public way to continue with another smearing. The cleared results make it iterate again, from the
    # density and the wave functions that it has.
    calculator.dft.scf_loop.occ_calc = occupations
    calculator.dft.results.clear()
    atoms.get_potential_energy()


def _n_steps(atoms: Atoms) -> int | None:
    try:
        return int(atoms.calc.dft.scf_loop.niter)
    except AttributeError:
        return None
