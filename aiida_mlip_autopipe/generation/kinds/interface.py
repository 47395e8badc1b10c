"""Interfaces: a film of one crystal on a substrate of another in a cell that both nearly share, or a liquid."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from itertools import islice, product, takewhile
from typing import Any, Literal, Self

import numpy as np
from ase import Atoms
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.fields import fault
from aiida_mlip_autopipe.core.wording import counted
from aiida_mlip_autopipe.generation.base import Generator, GeneratorSettings, Parent, Requirements
from aiida_mlip_autopipe.generation.chemistry.states import has_no_ions
from aiida_mlip_autopipe.generation.kinds.surface import SLAB_AXES, MillerIndex, SurfaceGenerator, SurfaceSettings
from aiida_mlip_autopipe.generation.nested import Nested, repeat_and_fill
from aiida_mlip_autopipe.generation.particles.wetting import LiquidLayer, LiquidSettings
from aiida_mlip_autopipe.generation.surfaces.faces import Face, Pair, describe_side, reduced_formula, tidy
from aiida_mlip_autopipe.generation.surfaces.joining import Contact, face, stack, strained_supercell
from aiida_mlip_autopipe.generation.surfaces.matching import Match, find_matches, nearest_misses
from aiida_mlip_autopipe.generation.surfaces.slabs import Cut, set_vacuum, upside_down

MIN_VACUUM_A = 5.0
SIDES = ('film', 'substrate')
FILM_FRACTIONS = {'film': 1.0, 'substrate': 0.0, 'both': 0.5}
FILM_FIELDS = (
    'film_miller', 'film_thickness_A', 'film_n_layers', 'max_strain', 'max_area_A2', 'strained', 'n_matches', 'shifts',
    'vacuum_A',
)  # fmt: skip
MAX_STRAIN = 0.1  # the search for common cells covers a misfit of 0.2, which both sides share


class InterfaceSettings(GeneratorSettings):
    """A film of one crystal on a substrate of another."""

    kind: Literal['interface'] = 'interface'
    """Interface between two different crystals."""
    film: Nested | None = None
    """The entry that provides the crystal of the film, such as {kind: alloy, composition: {Ni: 1}}."""
    liquid: LiquidSettings | None = None
    """A liquid instead of the film. It fills the space between the substrate and its periodic image."""
    substrate: Nested
    """The entry that provides the crystal of the substrate."""
    film_miller: MillerIndex | None = None
    """Plane of the film in its conventional cell, such as [1, 1, 1]."""
    substrate_miller: MillerIndex
    """Plane of the substrate in its conventional cell."""
    film_thickness_A: PositiveFloat = 8.0
    """Minimum thickness of the film in Å, as for `surface`."""
    substrate_thickness_A: PositiveFloat = 8.0
    """Minimum thickness of the substrate in Å."""
    film_n_layers: PositiveInt | None = None
    """Minimum number of layers of the film, instead of its thickness, as for `surface`."""
    substrate_n_layers: PositiveInt | None = None
    """Minimum number of layers of the substrate, instead of its thickness."""
    max_strain: float = Field(default=0.05, gt=0, le=MAX_STRAIN)
    """Maximum absolute principal strain of each side."""
    max_area_A2: PositiveFloat = 200.0
    """Maximum area of the common cell in Å², on the unstrained substrate and before it is repeated."""
    strained: Literal['film', 'substrate', 'both'] = 'film'
    """The side that is strained; `both` strains each by half of the misfit."""
    n_matches: PositiveInt = 1
    """Number of common cells for each pair of terminations, in order of area and strain."""
    terminations: Literal['all', 'first'] = 'all'
    """All pairs of distinct faces, or the first face of each crystal."""
    shifts: Literal['best', 'random'] | tuple[PositiveInt, PositiveInt] = 'best'
    """Shift of the film in the plane: the one at which the largest number of atoms of the two faces touch (`best`), a
    random one, different in each seed, or all points of a grid, such as [2, 2]."""
    gap_A: float | None = Field(default=None, ge=0, le=10)
    """Distance in Å between the highest atom of the substrate and the lowest atom of the film. By default, it is the
    mean spacing of the planes of both crystals, or the smallest distance at which no two atoms are closer than the sum
    of their covalent radii (van der Waals radii for two anions, and on a layered crystal) if that is larger."""
    vacuum_A: float = Field(default=15.0, ge=0)
    """Thickness of the vacuum in Å, at least 5, or 0 for a periodic stack, which contains a second interface."""
    polar: Literal['refuse', 'allow'] = 'refuse'
    """Discard terminations with a net formal charge or a dipole along the normal, or allow them."""

    @model_validator(mode='after')
    def _check(self) -> Self:
        if (self.film is None) == (self.liquid is None):
            code = Code.VALUES_EXCLUDE if self.film else Code.VALUES_INCOMPLETE
            raise fault(code, 'set exactly one of film and liquid')
        if self.film and not self.film_miller:
            raise fault(Code.VALUES_INCOMPLETE, 'set film_miller, the plane of the film')
        for name in FILM_FIELDS if self.liquid else ():
            if getattr(self, name) != type(self).model_fields[name].default:
                raise fault(Code.VALUES_EXCLUDE, f'{name} has no effect with a liquid; leave it out')
        if 0 < self.vacuum_A < MIN_VACUUM_A:
            raise fault(
                Code.OUT_OF_RANGE,
                f'vacuum_A: {self.vacuum_A:g} must be at least {MIN_VACUUM_A:g} Å, or 0 for a periodic stack',
            )
        return self

    def stream_content(self) -> dict[str, Any]:
        """Return the content from which the random streams are derived, including that of the inner entries."""
        sides = {'film': self.film, 'substrate': self.substrate, 'liquid': self.liquid}
        return {**super().stream_content(), **{name: side.stream_content() for name, side in sides.items() if side}}

    def elements(self) -> frozenset[str]:
        """Return the elements of both inner entries."""
        other = self.film or self.liquid
        assert other is not None  # the validator requires one
        return other.elements() | self.substrate.elements()


class InterfaceGenerator(Generator):
    """Makes the common cells of all pairs of faces, in order of area and strain, or slabs with a liquid."""

    settings_class = InterfaceSettings
    settings: InterfaceSettings

    def __init__(self, settings: InterfaceSettings):
        super().__init__(settings)
        self.substrate = SurfaceGenerator(_side(settings, 'substrate'))
        if settings.liquid:
            self.liquid = LiquidLayer(settings.liquid, settings.gap_A)
        else:
            self.film = SurfaceGenerator(_side(settings, 'film'))
        self._cases: dict[Requirements, list[tuple[Pair, Match]]] = {}

    @cached_property
    def _wetted_slabs(self) -> list[int]:
        """The indices of the slabs that a liquid wets."""
        crystals = [cut.crystal for cut in _cuts(self.substrate, 'substrate')]
        first_only = self.settings.terminations == 'first'
        return [n for n, crystal in enumerate(crystals) if not first_only or crystal not in crystals[:n]]

    @cached_property
    def _pairs(self) -> list[Pair]:
        settings = self.settings
        films, substrates = (
            _faces(side, name, first_only=settings.terminations == 'first')
            for side, name in ((self.film, 'film'), (self.substrate, 'substrate'))
        )
        if not settings.vacuum_A:  # both faces of the substrate meet the film
            substrates = [face for face in substrates if not face.cut.upside_down]
        return [Pair(film, substrate) for substrate, film in product(substrates, films)]

    @cached_property
    def _limits(self) -> dict[str, float]:
        settings = self.settings
        fraction = FILM_FRACTIONS[settings.strained]
        return {'max_strain': settings.max_strain, 'max_area_A2': settings.max_area_A2, 'film_fraction': fraction}

    def _matches(self, pair: Pair) -> Iterator[Match]:
        return find_matches(pair.film.lattice, pair.substrate.lattice, **self._limits)

    @cached_property
    def _numbers(self) -> list[int]:
        """The number of common cells of each pair, regardless of their number of atoms."""
        numbers = [sum(1 for _ in islice(self._matches(pair), self.settings.n_matches)) for pair in self._pairs]
        if any(numbers):
            return numbers
        pair, limits = self._pairs[0], self._limits
        nearest = [
            f'{100 * match.max_strain:.1f} % ({match.substrate_area_A2:.0f} Å²)'
            for match in nearest_misses(pair.film.lattice, pair.substrate.lattice, **limits)
        ]
        raise AutopipeError(
            Code.INTERFACE_IMPOSSIBLE,
            f'{pair} has no common cell of at most {limits["max_area_A2"]:g} Å² with principal strains of at most '
            f'{100 * limits["max_strain"]:.3g} %' + (f'; nearest cells: {", ".join(nearest)}' if nearest else ''),
        )

    def _find_cases(self, requirements: Requirements) -> list[tuple[Pair, Match]]:
        """Return the smallest common cells of each pair that can be repeated to the required width."""
        if requirements not in self._cases:
            cases = [
                (pair, match)
                for pair, number in zip(self._pairs, self._numbers, strict=True)
                for match in self._fitting(pair, number, requirements)
            ]
            cases.sort(key=lambda case: (round(case[1].area_A2, 4), round(case[1].max_strain, 8)))
            self._cases[requirements] = cases
        return self._cases[requirements]

    def _fitting(self, pair: Pair, number: int, requirements: Requirements) -> list[Match]:
        width, limit = requirements.min_width_A, requirements.max_atoms
        per_substrate = len(pair.substrate.cut.atoms)
        small = takewhile(lambda match: match.n_substrate * per_substrate <= limit, self._matches(pair))
        found = list(islice((match for match in small if pair.n_repeated(match, width) <= limit), number))
        if len(found) == number:
            return found
        sizes = sorted(pair.n_repeated(match, width) for match in islice(self._matches(pair), 20 * number))
        raise AutopipeError(
            Code.INTERFACE_IMPOSSIBLE,
            f'{pair}: only {len(found)} of {counted(number, "common cell")} have at most {counted(limit, "atom")} '
            f'at a width of {width:.2f} Å; set validation.max_atoms: {sizes[number - 1]}, or use thinner slabs',
        )

    @property
    def _shifts(self) -> list[tuple[float, float] | None]:
        """Distinct shifts as fractions of their cell; None for a shift that is determined for each interface."""
        if isinstance(self.settings.shifts, str):
            return [None]
        first, second = self.settings.shifts
        return [(i / first, j / second) for i in range(first) for j in range(second)]

    def period(self) -> int:
        """Return the number of interfaces, which are used in turn."""
        return len(self._wetted_slabs) if self.settings.liquid else sum(self._numbers) * len(self._shifts)

    def n_parents(self) -> int | None:
        """Return the number of interfaces, or None if the shift or the arrangement of elements is random."""
        if self.settings.liquid:
            return None
        units = (self.film.inner.n_units(), self.substrate.inner.n_units())
        return None if self.settings.shifts == 'random' or None in units else self.period()

    def default_n_seeds(self) -> int:
        """Return the number of seeds: one for each interface."""
        return self.period() * self.settings.perturb.variants

    def notes(self) -> list[str]:
        """Return what the inner entries leave out, missing common cells, and formal charges that are not kept."""
        if self.settings.liquid:
            return [*(f'substrate: {note}' for note in self.substrate.notes()), *self.liquid.notes()]
        notes = [f'{name}: {note}' for name in SIDES for note in getattr(self, name).notes()]
        for pair, number in zip(self._pairs, self._numbers, strict=True):
            if number < self.settings.n_matches:
                notes.append(
                    f'{pair} has only {number} of {self.settings.n_matches} requested common cells within the limits'
                )
            if not pair.keeps_charges and (pair.film.has_charges or pair.substrate.has_charges):
                notes.append(f'{pair} has no formal charges, because those of one side are unknown')
        return list(dict.fromkeys(notes))

    def draw_parent(self, index: int, rng: np.random.Generator, requirements: Requirements) -> Parent:
        """Return a film or a liquid on the substrate, repeated to the required width, with sites filled."""
        settings = self.settings
        if settings.liquid:
            return self._wet(
                self.substrate.draw_parent(self._wetted_slabs[index % self.period()], rng, requirements), rng
            )
        number, point = divmod(index % self.period(), len(self._shifts))
        pair, match = self._find_cases(requirements)[number]
        halves = [
            strained_supercell(pair.substrate.cut.atoms, match.substrate, match.cell),
            strained_supercell(pair.film.cut.atoms, match.film, match.cell),
        ]
        below, above = face(halves[0], upper=True), face(halves[1], upper=False)
        origin = below.positions[0, :2] - above.positions[0, :2]
        filled = repeat_and_fill(halves, [self.substrate.inner, self.film.inner], rng, requirements)
        (lower, lower_record), (upper, upper_record) = filled
        fractions = rng.uniform(0, 1, 2) if settings.shifts == 'random' else self._shifts[point]
        cell, bonded = match.displacements, pair.is_bonded
        contact = Contact(lower, upper, bonded=bonded)
        shift = contact.best_shift(origin, cell, pair.spacing_A) if fractions is None else np.asarray(fractions) @ cell
        gaps = [settings.gap_A, settings.gap_A]
        if settings.gap_A is None:
            touching = contact.gap_A(origin + shift), Contact(upper, lower, bonded=bonded).gap_A(-origin - shift)
            gaps = [max(gap, pair.spacing_A) for gap in touching]
        record = {
            'film': {
                'of': {'kind': self.film.settings.of.kind, 'crystal': pair.film.cut.crystal, **upper_record},
                'termination': reduced_formula(face(upper, upper=False)),
                **describe_side(pair.film, match.film, match.film_strain),
            },
            'substrate': {
                'of': {'kind': settings.substrate.kind, 'crystal': pair.substrate.cut.crystal, **lower_record},
                'termination': reduced_formula(face(lower, upper=True)),
                **describe_side(pair.substrate, match.substrate, match.substrate_strain),
            },
            'strained': settings.strained,
            'area_A2': match.area_A2,
            'twist_deg': tidy(match.twist_deg),
            'parallel': pair.parallel_directions(match),
            'repeats': np.rint(lower.cell.lengths()[:2] / halves[0].cell.lengths()[:2]).astype(int).tolist(),
            'shift_A': tidy(shift),
            'gap_A': gaps[0],
            **({'vacuum_A': settings.vacuum_A} if settings.vacuum_A else {'upper_gap_A': gaps[1]}),
            'n_substrate': len(lower),
        }
        return self._join(pair, (lower, upper), origin + shift, record)

    def _wet(self, slab: Parent, rng: np.random.Generator) -> Parent:
        """Return a slab with the liquid instead of the vacuum."""
        atoms, record = self.liquid.wet(slab.atoms, rng)
        substrate = {key: value for key, value in slab.record.items() if key != 'vacuum_A'}
        return Parent(
            atoms,
            {'substrate': substrate, **record},
            repeatable=(False,) * 3,
            charge_allowed=slab.charge_allowed,
            molecular=True,
        )

    def _join(self, pair: Pair, halves: tuple[Atoms, Atoms], shift: np.ndarray, record: dict[str, Any]) -> Parent:
        """Return both slabs in one cell, in vacuum or as a periodic stack."""
        vacuum_A = self.settings.vacuum_A
        if not pair.keeps_charges:
            for half in halves:
                half.set_initial_charges(None)
        atoms = stack(*halves, shift, record['gap_A'], record.get('upper_gap_A', vacuum_A))
        if vacuum_A:
            set_vacuum(atoms, vacuum_A)
        return Parent(
            atoms,
            record,
            deformable=SLAB_AXES if vacuum_A else None,
            repeatable=(False,) * 3,
            charge_allowed=self.settings.polar == 'allow'
            or self.film.inner.charge_allowed
            or self.substrate.inner.charge_allowed,
            form='slab' if vacuum_A else None,
        )


def _side(settings: InterfaceSettings, name: str) -> SurfaceSettings:
    """Return the settings of the slabs of one side."""
    fields = {field: getattr(settings, f'{name}_{field}') for field in ('thickness_A', 'n_layers')}
    miller = getattr(settings, f'{name}_miller')
    return SurfaceSettings(of=getattr(settings, name), miller_indices=(miller,), polar=settings.polar, **fields)


def _cuts(side: SurfaceGenerator, name: str) -> list[Cut]:
    try:
        return side.cuts
    except AutopipeError as error:
        raise AutopipeError(error.code, f'{name}: {error}') from None


def _faces(side: SurfaceGenerator, name: str, *, first_only: bool) -> list[Face]:
    """Return the distinct faces of the slabs of one side. A slab with two different faces is also turned over."""
    from pymatgen.io.ase import AseAtomsAdaptor

    turned = [
        turn
        for cut in _cuts(side, name)
        for turn in (cut, *(() if cut.symmetric else (replace(cut, atoms=upside_down(cut.atoms), upside_down=True),)))
    ]
    if first_only:
        turned = list({cut.crystal: cut for cut in reversed(turned)}.values())[::-1]
    crystals = {cut.crystal: side.draw_conventional(cut.crystal) for cut in turned}
    faces = []
    for cut in turned:
        structure, charges = crystals[cut.crystal]
        crystal = AseAtomsAdaptor.get_atoms(structure)
        faces.append(Face(cut, crystal, bool(charges) or has_no_ions(set(crystal.get_chemical_symbols()))))
    return faces


VARIANT = InterfaceGenerator
