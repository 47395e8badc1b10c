"""Whether all rows of a dataset are spin-polarised, and the initial magnetic moments of a structure."""

from __future__ import annotations

from collections.abc import Iterable

from ase import Atoms

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.storage.dft.base import DftCode
from aiida_mlip_autopipe.structures.magnetism import MAGNETIC


def choose_spin(code: DftCode, structures: Iterable[Atoms]) -> bool:
    """Return whether the calculations of all rows are spin-polarised.

    Energies with and without spin polarisation are not comparable, so all rows of a dataset have the same choice: that
    of the settings, or spin polarisation if the settings or a structure contain initial magnetic moments.
    """
    if code.spin is not None:
        return code.spin
    moments = (atoms.get_initial_magnetic_moments() for atoms in structures)
    return bool(code.settings.initial_magnetic_moments) or any(values.any() for values in moments)


def set_moments(atoms: Atoms, code: DftCode, *, spin: bool) -> None:
    """Set the initial magnetic moments of a structure, or remove them if the calculation is not spin-polarised.

    Raises
    ------
    AutopipeError
        If the structure contains a magnetic element without a moment, and the settings do not rule out magnetism.
    """
    given = code.settings.initial_magnetic_moments
    if spin and atoms.get_initial_magnetic_moments().any():
        return
    magnetic = sorted(MAGNETIC.intersection(atoms.get_chemical_symbols()) - given.keys())
    uses_default = spin and code.has_default_moments and not given
    if magnetic and not uses_default and (spin or code.spin is None):
        raise AutopipeError(
            Code.VALUES_INCOMPLETE,
            f'{", ".join(magnetic)} may be magnetic: set initial_magnetic_moments: {{{magnetic[0]}: 2.5}} with the '
            f'moment in μB of each element, or {code.spin_key}: 1 for calculations without spin polarisation',
        )
    moments = [given.get(symbol, 0.0) for symbol in atoms.symbols] if spin and not uses_default else None
    atoms.set_initial_magnetic_moments(moments)
