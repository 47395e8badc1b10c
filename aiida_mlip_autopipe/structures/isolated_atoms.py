"""What a single atom of each element has as energy, at the level of theory of the labels."""

from __future__ import annotations

from collections.abc import Iterable

from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.structures.row import ISOLATED_ATOMS, Row

# A GPU does not give the same bits twice.
TOLERANCE = 1e-3
"""eV."""


def isolated_atom_energies(rows: Iterable[Row]) -> dict[str, float] | None:
    """Gather the energies of isolated atoms that rows hold.

    Returns
    -------
    dict or None
        eV by chemical symbol, in the order of atomic numbers; None where that of an element of the rows is not known.

    Raises
    ------
    AutopipeError
        If two rows disagree by more than 1 meV.
    """
    known: dict[str, float] = {}
    elements: dict[int, str] = {}
    for row in rows:
        elements.update(zip(row.atoms.numbers.tolist(), row.atoms.get_chemical_symbols(), strict=True))
        for symbol, energy in row.data.get(ISOLATED_ATOMS, {}).items():
            if abs(known.setdefault(symbol, energy) - energy) > TOLERANCE:
                raise AutopipeError(
                    f'the rows have {known[symbol]:g} and {energy:g} eV for an isolated atom of {symbol}: '
                    'their labels are not of one model'
                )
    symbols = [elements[number] for number in sorted(elements)]
    return {symbol: known[symbol] for symbol in symbols} if set(symbols) <= set(known) else None
