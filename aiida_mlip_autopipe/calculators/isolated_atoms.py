"""The energies of isolated atoms, which trainers use as reference energies of the elements."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from aiida_mlip_autopipe.calculators.evaluation import Evaluator

# The box is not periodic, so the atom has no images within any cutoff. Some calculators still need a cell.
BOX_A = 30.0


def evaluate_isolated_atoms(symbols: Iterable[str], calculator: Calculator) -> tuple[dict[str, float], list[str]]:
    """Evaluate an isolated atom of each element.

    Returns
    -------
    energies
        Energies in eV by symbol, for those elements that the calculator can evaluate.
    faults
        A message for each of the other elements. Some graph networks refuse an atom without neighbours.
    """
    energies, faults = {}, []
    for symbol in sorted(set(symbols)):
        try:
            energy = isolated_atom_energy(symbol, calculator)
        except Exception as error:  # calculators raise various errors for unsupported structures
            faults.append(f'an isolated atom of {symbol} cannot be evaluated: {type(error).__name__}: {error}')
            continue
        if np.isfinite(energy):
            energies[symbol] = energy
        else:
            faults.append(f'the energy of an isolated atom of {symbol} is not finite')
    return energies, faults


def isolated_atom_energy(symbol: str, calculator: Calculator) -> float:
    """Return the energy of an isolated atom in eV.

    Parameters
    ----------
    symbol
        Symbol of the element.
    calculator
        The calculator. If it has a method ``isolated_atom_energy``, this is called with the symbol.
    """
    # DFT needs different settings for an open shell than for condensed matter.
    if hasattr(calculator, 'isolated_atom_energy'):
        return float(calculator.isolated_atom_energy(symbol))
    atoms = Atoms([symbol], positions=[[BOX_A / 2] * 3], cell=[BOX_A] * 3, pbc=False)
    return Evaluator(atoms, calculator, with_stress=False).evaluate(atoms.positions, atoms.cell.array).energy
