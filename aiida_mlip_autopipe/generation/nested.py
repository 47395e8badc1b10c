"""Kinds that build on another kind, such as a defect in a surface of an alloy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches
from itertools import product
from typing import Annotated, Any

import numpy as np
from ase import Atoms
from pydantic import BeforeValidator, SerializeAsAny, ValidationInfo, WithJsonSchema

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError, PhysicsViolationError
from aiida_mlip_autopipe.core.fields import fault
from aiida_mlip_autopipe.generation.base import (
    GENERATORS,
    Generator,
    GeneratorSettings,
    Parent,
    Requirements,
)
from aiida_mlip_autopipe.generation.chemistry.oxidation import guess_charges
from aiida_mlip_autopipe.generation.few_atoms import FewAtomsSettings
from aiida_mlip_autopipe.generation.surfaces.slabs import charges_by_element
from aiida_mlip_autopipe.structures.cells import repeats_for_width
from aiida_mlip_autopipe.structures.molecules import repeat_molecules
from aiida_mlip_autopipe.structures.vacuum import MAX_LAYER_OF_CRYSTAL_A, empty_layers

# The fields that are only allowed in the outermost entry.
OUTER_FIELDS = ('n_seeds', 'label', 'exploration', 'magnetic_moments', 'perturb', 'validation')


def validate_nested(value: Any, info: ValidationInfo) -> GeneratorSettings:
    """Validate an inner entry by its kind, and return its settings."""
    if isinstance(value, dict):
        kind = value.get('kind')
        if str(kind) not in set(GENERATORS):
            near = get_close_matches(str(kind), list(GENERATORS), 1)
            code = Code.KIND_UNKNOWN if kind else Code.KIND_MISSING
            raise fault(code, f'the kind must be one of {", ".join(GENERATORS)}', nearest=near[0] if near else None)
        value = GENERATORS.load(str(kind)).settings_class.model_validate(value, context=info.context)
    if not isinstance(value, GeneratorSettings):
        raise fault(Code.TYPE_WRONG, 'must be a mapping with a kind, such as {kind: alloy, composition: {Cu: 1}}')
    if isinstance(value, FewAtomsSettings):
        raise fault(
            Code.HOST_UNSUITABLE,
            f'kind {value.kind} makes one to three isolated atoms; use a crystal, a slab or a cluster',
        )
    for name in OUTER_FIELDS:
        if getattr(value, name) != type(value).model_fields[name].get_default(call_default_factory=True):
            raise fault(Code.KEY_UNKNOWN, f'{name} is only allowed in the outermost entry')
    return value


Nested = Annotated[
    SerializeAsAny[GeneratorSettings],
    BeforeValidator(validate_nested),
    WithJsonSchema(
        {
            'type': 'object',
            'description': 'An entry of any kind, without n_seeds, label, exploration, magnetic_moments, perturb and '
            'validation.',
            'properties': {'kind': {'type': 'string'}},
            'required': ['kind'],
        }
    ),
]


class ComposedSettings(GeneratorSettings):
    """An entry whose structures are made from those of another entry."""

    of: Nested
    """The entry that provides the structures, such as {kind: alloy, composition: {Cu: 1}}."""

    def stream_content(self) -> dict[str, Any]:
        """Return the content from which the random streams are derived, including that of the inner entry."""
        return {**super().stream_content(), 'of': self.of.stream_content()}

    def elements(self) -> frozenset[str]:
        """Return the elements of the inner entry."""
        return self.of.elements()


class ComposedGenerator(Generator):
    """Makes parents from the parents of another generator."""

    settings: ComposedSettings

    def __init__(self, settings: ComposedSettings):
        super().__init__(settings)
        self.inner: Generator = GENERATORS.make(settings.of)

    def notes(self) -> list[str]:
        """Return what the inner entry leaves out."""
        return self.inner.notes()

    def period(self) -> int:
        """Return the number of parents after which the sequence repeats. The inner structures are used in turn."""
        return self.n_parents() or self.inner.period()

    def crystals(self) -> range:
        """Return the indices of the crystals of the inner kind, from which surfaces and grain boundaries are cut.

        Raises
        ------
        AutopipeError
            If each draw of the inner kind gives a different crystal.
        """
        count = self.inner.n_units()
        if count is None and type(self.inner).fill is Generator.fill:
            kind, inner = self.settings.kind, self.inner.settings.kind
            remedy = f'make {kind} the inner entry of {inner}, or turn off the randomness of {inner}'
            if not isinstance(self.inner, ComposedGenerator):
                remedy = 'use a crystal under `of`'
            raise AutopipeError(
                Code.HOST_UNSUITABLE,
                f'{kind} needs the same crystal in every draw, but this entry of kind {inner!r} draws a new one each '
                f'time; {remedy}',
            )
        return range(count or 1)

    def draw_crystal(self, index: int) -> Atoms:
        """Return the unit cell of a crystal of the inner kind.

        Raises
        ------
        AutopipeError
            If it is not periodic in three directions, or has vacuum.
        """
        unit = self.inner.draw_unit(index)
        if not unit.pbc.all():
            reason = 'is not periodic in three directions'
        elif empty_layers(unit).max() > MAX_LAYER_OF_CRYSTAL_A:
            reason = 'already has vacuum'
        else:
            return unit
        raise AutopipeError(
            Code.HOST_UNSUITABLE, f'{self.settings.kind} needs a crystal; {unit.get_chemical_formula()} {reason}'
        )

    def draw_conventional(self, index: int) -> tuple[Any, dict[str, float]]:
        """Return the conventional cell of a crystal (pymatgen), and the formal charge of each element, if known.

        Miller indices refer to this cell.

        Raises
        ------
        AutopipeError
            If the structure is not periodic in three directions, or has vacuum.
        """
        from pymatgen.io.ase import AseAtomsAdaptor
        from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

        unit = self.draw_crystal(index)
        guess_charges(unit)
        structure = AseAtomsAdaptor.get_structure(Atoms(unit.symbols, unit.positions, cell=unit.cell, pbc=True))
        return SpacegroupAnalyzer(structure).get_conventional_standard_structure(), charges_by_element(unit)

    def repeat_and_fill(
        self, cut: Atoms, rng: np.random.Generator, requirements: Requirements
    ) -> tuple[Atoms, dict[str, Any]]:
        """Repeat a cut in its plane to the required width, and let the inner kind fill its sites.

        The cut is repeated further if it is too small for the composition of the inner kind. The filled structure is
        returned with the record of the inner kind.

        Raises
        ------
        AutopipeError
            If no cell up to the maximum number of atoms can be filled.
        """
        (filled,) = repeat_and_fill([cut], [self.inner], rng, requirements)
        return filled

    def inner_parent(self, index: int, rng: np.random.Generator, requirements: Requirements) -> Parent:
        """Return a parent of the inner kind, repeated to the required width. Listed parents are used in turn."""
        return draw_wide_parent(self.inner, index, rng, requirements)


def draw_wide_parent(generator: Generator, index: int, rng: np.random.Generator, requirements: Requirements) -> Parent:
    """Return a parent of a generator, repeated to the required width. Listed parents are used in turn.

    Raises
    ------
    AutopipeError
        If the parent consists of molecules, which other kinds would break.
    """
    count = generator.n_parents()
    parent = generator.draw_parent(index if count is None else index % count, rng, requirements)
    if parent.molecular:
        raise AutopipeError(
            Code.HOST_UNSUITABLE,
            f'the molecules of an entry of kind {generator.settings.kind!r} would be cut; use a crystal or a slab',
        )
    return repeat_to_width(parent, requirements)


def repeat_and_fill(
    cuts: Sequence[Atoms], inner: Sequence[Generator], rng: np.random.Generator, requirements: Requirements
) -> list[tuple[Atoms, dict[str, Any]]]:
    """Repeat cuts with the same cell in their plane to the required width, and let the inner kinds fill their sites.

    Parameters
    ----------
    cuts
        Cuts with the same first two cell vectors.
    inner
        The generator that fills the sites of each cut.
    rng
        Source of all random numbers.
    requirements
        The width, and the number of atoms that all cuts together may have.

    Returns
    -------
    list
        The filled structure of each cut and the record of its inner kind.

    Raises
    ------
    AutopipeError
        If no cell up to the maximum number of atoms can be filled.
    """
    first, second, _ = repeats_for_width(cuts[0], requirements.min_width_A)
    max_repeats = requirements.max_atoms // sum(map(len, cuts))
    sizes = [(1, 1)]  # too narrow; the validation reports it
    if first * second <= max_repeats:
        larger = product(range(first, 3 * first + 1), range(second, 3 * second + 1))
        sizes = sorted(((i, j) for i, j in larger if i * j <= max_repeats), key=lambda size: (size[0] * size[1], size))
    for size in sizes:
        repeated = [cut.repeat((*size, 1)) for cut in cuts]
        try:
            return [(atoms, generator.fill(atoms, rng)) for atoms, generator in zip(repeated, inner, strict=True)]
        except PhysicsViolationError:
            raise
        except AutopipeError as error:
            refused = error
    raise refused


def repeat_to_width(parent: Parent, requirements: Requirements) -> Parent:
    """Repeat a parent whose cell is too small, unless it would then exceed the maximum number of atoms."""
    if not requirements.min_width_A or not parent.atoms.pbc.any():
        return parent
    allowed = parent.atoms.pbc if parent.repeatable is None else parent.repeatable
    counts = [
        count if is_allowed else 1
        for count, is_allowed in zip(repeats_for_width(parent.atoms, requirements.min_width_A), allowed, strict=True)
    ]
    n_atoms = len(parent.atoms) * int(np.prod(counts))
    if n_atoms == len(parent.atoms) or n_atoms > requirements.max_atoms:
        return parent
    atoms = repeat_molecules(parent.atoms, counts) if parent.molecular else parent.atoms.repeat(counts)
    return replace(parent, atoms=atoms, record={**parent.record, 'repeats': counts})
