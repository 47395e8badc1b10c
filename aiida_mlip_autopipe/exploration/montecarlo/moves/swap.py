"""Swap of two atoms of different elements, which samples the order of an alloy or a mixed crystal."""

from __future__ import annotations

from typing import Literal

import numpy as np
from ase import Atoms
from pydantic import Field, model_validator

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.fields import fault
from aiida_mlip_autopipe.exploration.montecarlo.base import Move, MoveRefusedError, MoveSettings, Trial
from aiida_mlip_autopipe.exploration.phase_space import PhaseSpace
from aiida_mlip_autopipe.exploration.unused import refuse_without_effect

# Elements that count as anions in structures without formal charges.
ANION_FORMERS = frozenset({7, 8, 9, 16, 17, 34, 35, 52, 53})


class SwapSettings(MoveSettings):
    """Exchanges the positions of two atoms of different elements."""

    kind: Literal['swap'] = 'swap'
    """Swap."""
    partners: Literal['same_sign', 'same_charge', 'any'] = 'same_sign'
    """Which atoms may be swapped: atoms with formal charges of the same sign (no cation moves to an anion site, but a
    spinel may become inverse), atoms with the same formal charge, or all atoms."""
    sublattices: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Named sets of elements. If any are given, only atoms of the same set are swapped, and ``partners`` cannot
    be set."""

    @model_validator(mode='after')
    def _check_disjoint(self) -> SwapSettings:
        elements = [element for group in self.sublattices.values() for element in group]
        repeated = sorted({element for element in elements if elements.count(element) > 1})
        if repeated:
            raise fault(Code.VALUE_INVALID, f'sublattices lists {", ".join(repeated)} more than once')
        if self.sublattices:
            refuse_without_effect(self, ('partners',), 'sublattices determines which atoms are swapped')
        return self


class Swap(Move):
    """Exchanges the positions of two atoms. The index and the momentum of each atom do not change.

    A pair is drawn by its indices, whose elements never change. A proposal is therefore as probable as its reverse.
    """

    settings_class = SwapSettings
    settings: SwapSettings

    def begin(self, atoms: Atoms, free: np.ndarray) -> None:
        """Determine which atoms may be swapped."""
        if self.molecules is not None and len(np.unique(self.molecules)) < len(atoms):
            raise MoveRefusedError(
                Code.MOVE_IMPOSSIBLE, 'a swap would exchange atoms between molecules; use displacements instead'
            )
        self._numbers = atoms.numbers
        self._groups = self._group(atoms)
        self._free = free & (self._groups >= 0)
        self._first = [int(index) for index in np.flatnonzero(self._free) if len(self._partners(int(index)))]
        if not self._first:
            raise MoveRefusedError(
                Code.MOVE_IMPOSSIBLE,
                'no two free atoms can be swapped: they must be of different elements and '
                + (
                    'of the same sublattice'
                    if self.settings.sublattices
                    else f'allowed by partners {self.settings.partners!r}'
                ),
            )

    def propose(self, system: PhaseSpace, rng: np.random.Generator) -> Trial:
        """Exchange the positions of a randomly chosen pair."""
        first = int(rng.choice(self._first))
        second = int(rng.choice(self._partners(first)))
        positions = system.positions.copy()
        positions[[first, second]] = positions[[second, first]]
        return Trial(positions, system.cell)

    def _partners(self, index: int) -> np.ndarray:
        same_group = self._groups == self._groups[index]
        return np.flatnonzero(self._free & same_group & (self._numbers != self._numbers[index]))

    def _group(self, atoms: Atoms) -> np.ndarray:
        """Return a number for each atom. Only atoms with the same number are swapped, unless it is negative."""
        if self.settings.sublattices:
            groups = np.full(len(atoms), -1)
            symbols = np.array(atoms.get_chemical_symbols())
            for number, elements in enumerate(self.settings.sublattices.values()):
                groups[np.isin(symbols, elements)] = number
            return groups
        if self.settings.partners == 'any':
            return np.zeros(len(atoms), dtype=int)
        charges = atoms.get_initial_charges()
        if self.settings.partners == 'same_charge':
            if not charges.any():
                raise MoveRefusedError(
                    Code.MOVE_IMPOSSIBLE,
                    "partners 'same_charge' needs formal charges, but the structure has none",
                )
            return np.unique(np.round(charges, 6), return_inverse=True)[1]
        if charges.any():
            signs: np.ndarray = np.sign(np.round(charges, 6)).astype(int) + 1
            return signs
        return np.isin(atoms.numbers, list(ANION_FORMERS)).astype(int)


VARIANT = Swap
