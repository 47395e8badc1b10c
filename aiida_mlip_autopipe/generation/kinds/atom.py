"""Isolated atoms, whose energies are the reference energies of the elements."""

from __future__ import annotations

from typing import Literal

import numpy as np

from aiida_mlip_autopipe.generation.base import Parent, Requirements
from aiida_mlip_autopipe.generation.few_atoms import FewAtomsGenerator, FewAtomsSettings, in_box


class AtomSettings(FewAtomsSettings):
    """An isolated atom of each element."""

    kind: Literal['atom'] = 'atom'
    """Isolated atoms."""


class AtomGenerator(FewAtomsGenerator):
    """Makes one atom of each element, in the order of the settings."""

    settings_class = AtomSettings
    settings: AtomSettings

    def n_parents(self) -> int:
        """Return the number of elements."""
        self.settings.elements()
        return len(self._symbols)

    @property
    def _symbols(self) -> list[str]:
        return list(dict.fromkeys(self.settings.symbols))

    def draw_parent(self, index: int, rng: np.random.Generator, requirements: Requirements) -> Parent:
        """Return an atom in a box."""
        symbol = self._symbols[index]
        return in_box([symbol], [[0.0, 0.0, 0.0]], {'element': symbol})


VARIANT = AtomGenerator
