"""Simple lattices and their lattice constants."""

from __future__ import annotations

from functools import cache
from typing import Literal

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.structures.densities import MOL_PER_CM3

Lattice = Literal['fcc', 'bcc', 'hcp', 'sc', 'diamond']

# Atoms in the conventional cell; for hcp in the hexagonal cell.
ATOMS_PER_CELL = {'fcc': 4, 'bcc': 2, 'hcp': 2, 'sc': 1, 'diamond': 8}
IDEAL_C_OVER_A = float(np.sqrt(8 / 3))


def unit_cell(lattice: Lattice, a_A: float, c_over_a: float = IDEAL_C_OVER_A) -> Atoms:
    """Return the conventional cell of a lattice, with copper atoms as placeholders."""
    from ase.build import bulk

    if lattice == 'hcp':
        return bulk('Cu', 'hcp', a=a_A, c=a_A * c_over_a)
    return bulk('Cu', lattice, a=a_A, cubic=True)


@cache
def atomic_volume(symbol: str) -> float:
    """Return the volume per atom of an element at ambient conditions, in Å³.

    If the ground state is fcc, bcc, hcp, sc or diamond, it is calculated from the lattice constants in
    `ase.data.reference_states` (mostly Ashcroft and Mermin 1976, from Wyckoff), otherwise from the molar volume in
    pymatgen.
    """
    from ase.data import atomic_numbers, reference_states

    state = reference_states[atomic_numbers[symbol]]
    if state and state['symmetry'] in ATOMS_PER_CELL:
        volume = state['a'] ** 3
        if state['symmetry'] == 'hcp':
            volume *= np.sqrt(3) / 2 * state['c/a']
        return float(volume / ATOMS_PER_CELL[state['symmetry']])
    from pymatgen.core import Element

    molar_volume = Element(symbol).data.get('Molar volume')  # cm³/mol; None for short-lived elements
    if molar_volume is None:
        raise AutopipeError(
            Code.VALUE_MISSING,
            f'the atomic volume of {symbol} is not tabulated; set a_A, or volume_A3 for kind formula',
        )
    return float(str(molar_volume).split()[0]) / MOL_PER_CM3


def ground_state(symbol: str) -> str | None:
    """Return the structure of an element at ambient conditions, such as ``bcc`` (`ase.data.reference_states`)."""
    from ase.data import atomic_numbers, reference_states

    state = reference_states[atomic_numbers[symbol]]
    return str(state['symmetry']) if state else None


@cache
def tabulated_c_over_a(symbol: str) -> float:
    """Return the c/a of an element if its ground state is hcp, otherwise the ideal value."""
    from ase.data import atomic_numbers, reference_states

    state = reference_states[atomic_numbers[symbol]]
    return float(state['c/a']) if state and state['symmetry'] == 'hcp' else IDEAL_C_OVER_A


def vegard_c_over_a(fractions: dict[str, float]) -> float:
    """Return the mean c/a of the elements of a solid solution. It is also defined for elements without a volume."""
    return float(sum(fraction * tabulated_c_over_a(symbol) for symbol, fraction in fractions.items()))


def vegard_lattice(fractions: dict[str, float], lattice: Lattice) -> tuple[float, float]:
    """Return the lattice constant in Å and c/a of a solid solution by Vegard's law.

    ``a = Σ x_i a_i`` (L. Vegard, Z. Phys. 5, 17, 1921), where a_i is the lattice constant at which the lattice has the
    atomic volume of the element in its ground state. c/a is averaged in the same way; only hcp uses it.
    """
    c_over_a = vegard_c_over_a(fractions)
    shape = np.sqrt(3) / 2 * c_over_a if lattice == 'hcp' else 1.0
    constants = {s: (atomic_volume(s) * ATOMS_PER_CELL[lattice] / shape) ** (1 / 3) for s in fractions}
    return float(sum(fraction * constants[symbol] for symbol, fraction in fractions.items())), c_over_a
