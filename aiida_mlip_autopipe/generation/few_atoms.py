"""Code shared by the kinds with one to three atoms: elements, box, and the rules that do not apply to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
from ase import Atoms
from pydantic import Field, model_validator

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.fields import fault
from aiida_mlip_autopipe.generation.base import Generator, GeneratorSettings, Parent, Requirements
from aiida_mlip_autopipe.generation.chemistry.elements import Element
from aiida_mlip_autopipe.generation.perturb import PerturbSettings
from aiida_mlip_autopipe.generation.validation import ValidationSettings

# Distance in Å between the atoms and the faces of their box. The box is not periodic, but some calculators need a cell.
MARGIN_A = 15.0


class FewAtomsSettings(GeneratorSettings):
    """An entry whose structures are one to three atoms in a non-periodic box."""

    symbols: tuple[Element, ...] = ()
    """Elements; by default, those of all other entries of the config."""
    exploration: dict[str, Any] = Field(default_factory=lambda: {'kind': 'single_point'})
    """Settings of the exploration of these seeds; by default, single points."""

    # A molecule has no cell to repeat.
    default_cell: ClassVar[str] = 'as_given'
    # A fingerprint does not change with the distance between atoms beyond its range.
    only_identical: ClassVar[bool] = True

    @model_validator(mode='after')
    def _refuse_rules(self) -> Self:
        for name, default in (('validation', ValidationSettings()), ('perturb', PerturbSettings())):
            if getattr(self, name) != default:
                raise fault(
                    Code.VALUES_EXCLUDE,
                    f'{name} does not apply to kind {self.kind}, whose distances are exact and exempt from the rules',
                )
        return self

    @property
    def rules(self) -> ValidationSettings:
        """The validation rules: none for short distances and isolated atoms, which are intended here."""
        exempt: dict[str, Any] = {'min_distance_factor': 0.0, 'max_neighbour_factor': 0.0}
        return super().rules.model_copy(update=exempt)

    @property
    def needs_symbols(self) -> bool:
        """Whether the elements are still to be taken from the other entries."""
        return not self.symbols

    def elements(self) -> frozenset[str]:
        """Return the elements.

        Raises
        ------
        AutopipeError
            If they are neither set nor known from other entries.
        """
        if self.needs_symbols:
            raise AutopipeError(
                Code.VALUE_MISSING,
                f'set symbols for kind {self.kind}; the other entries of the config do not determine all elements',
            )
        return frozenset(self.symbols)


class FewAtomsGenerator(Generator):
    """Makes a fixed list of structures, without randomness."""

    settings: FewAtomsSettings

    def check(self, requirements: Requirements) -> None:
        """Refuse more seeds than there are structures, since the others would be copies."""
        n_seeds, n_parents = self.settings.n_seeds, self.n_parents()
        if n_seeds is not None and n_parents is not None and n_seeds > n_parents:
            raise AutopipeError(
                Code.OUT_OF_RANGE,
                f'n_seeds: {n_seeds} is above the maximum of {n_parents} for this {self.settings.kind} entry',
            )


def in_box(symbols: Sequence[str], positions_A: Sequence[Sequence[float]], record: dict[str, Any]) -> Parent:
    """Return atoms at the centre of a box without periodic directions, as a molecule."""
    atoms = Atoms(list(symbols), positions=np.asarray(positions_A, dtype=float), pbc=False)
    atoms.center(vacuum=MARGIN_A)
    return Parent(atoms, record, form='molecule')


def complete_elements(entries: tuple[GeneratorSettings, ...]) -> tuple[GeneratorSettings, ...]:
    """Return the entries of a config. Entries that take their elements from the other entries get these elements.

    If another entry has unknown elements, such as a query without an answer, the entries are returned unchanged.
    """
    if not any(isinstance(entry, FewAtomsSettings) and entry.needs_symbols for entry in entries):
        return entries
    try:
        found = [
            entry.elements() for entry in entries if not isinstance(entry, FewAtomsSettings) or not entry.needs_symbols
        ]
    except AutopipeError:  # reported with the place of that entry
        return entries
    symbols = tuple(sorted(frozenset().union(*found))) if all(found) else ()
    return tuple(
        entry.model_copy(update={'symbols': symbols})
        if isinstance(entry, FewAtomsSettings) and entry.needs_symbols
        else entry
        for entry in entries
    )
