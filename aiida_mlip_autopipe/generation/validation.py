"""The rules that every seed must satisfy, and the sources of their limits."""

from __future__ import annotations

from functools import cache, cached_property
from typing import Literal, Self

import numpy as np
from ase import Atoms
from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import PhysicsViolationError
from aiida_mlip_autopipe.core.fields import fault
from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.generation.chemistry.elements import check_symbol
from aiida_mlip_autopipe.generation.contacts import check_contacts
from aiida_mlip_autopipe.structures.cells import complete_cell, perpendicular_widths
from aiida_mlip_autopipe.structures.densities import DALTON_PER_A3
from aiida_mlip_autopipe.structures.vacuum import MIN_LAYER_OF_SLAB_A, empty_layers

NOBLE_GASES = (2, 10, 18, 36, 54, 86)
# Ions of like charge are farther apart than bonded atoms. The factors multiply the sum of the covalent radii. That for
# anions is from the shortest contacts around one cation (O–O in nitrates and carbonates 2.17–2.25 Å; others: CI4 1.26,
# CBr4 1.31, CCl4 1.42). That for cations is from metal–metal bonds along the rutile chain of MoO2 (2.51 Å, 0.81).
ANION_FACTOR, ANION_DISTANCE_O = 1.25, 2.0
CATION_FACTOR = 0.75
# Minimum volume per atom, divided by the mean volume of the covalent spheres: α-U has 0.66, close-packed metals have
# about 1.2, and diamond has 3.
MIN_VOLUME_FACTOR = 0.4
# Maximum volume per atom, divided by the mean volume of spheres whose radii are larger by VAN_DER_WAALS_EXTRA Å, the
# mean difference between van der Waals and covalent radii: close-packed metals have 0.3, rock salt has 0.5, zeolites
# have 1.1, ice has 1.3, and solid hydrogen and open frameworks have 3.4.
MAX_VOLUME_FACTOR, VAN_DER_WAALS_EXTRA = 4.0, 0.8
MAX_DENSITY = 30.0  # g/cm³; osmium, the densest element, has 22.6
DEFAULT_WIDTH_FACTOR = 2.0
CHARGE_TOLERANCE = 1e-6  # e
WIDTH_TOLERANCE = 1e-6  # relative
# Minimum range of the neighbour search, which divides the cell into boxes of this size. In a large cell, smaller boxes
# would be too numerous.
MIN_SEARCH_A = 2.0


class ValidationSettings(Settings):
    """Rules that a seed must satisfy."""

    min_distance_factor: float = Field(default=0.6, ge=0, le=1.5)
    """Minimum distance between two atoms, divided by the sum of their covalent radii. For noble gases, van der
    Waals radii are used instead."""
    min_contact_factor: float = Field(default=0.6, ge=0, le=1.2)
    """Minimum distance between atoms of different molecules, divided by the sum of their van der Waals radii, for
    kinds that make molecules."""
    min_distances_A: dict[str, float] = Field(default_factory=dict)
    """Minimum distance in Å for specific pairs of elements, such as {O-O: 2.0}. It replaces the factor."""
    like_charges: bool = True
    """Require larger distances between ions of like charge, where formal charges are known."""
    max_neighbour_factor: float = Field(default=1.7, ge=0)
    """Maximum distance from an atom to its nearest neighbour, divided by the sum of their covalent radii. Noble gases
    are exempt. 0 turns the rule off."""
    cell: Literal['wide_enough', 'as_given'] | None = None
    """`wide_enough` repeats a cell that is too small for the calculator. `as_given` keeps a small cell: it is not
    repeated, and its width is not checked. The default is `wide_enough`, but `as_given` for `structures`."""
    min_width_factor: float | None = Field(default=None, ge=0)
    """Minimum perpendicular width of the cell along its periodic directions, divided by the cutoff of the calculator.
    The default is 2 (0 for `structures`)."""
    max_atoms: PositiveInt = 500
    """Maximum number of atoms of a structure whose size is requested, such as a supercell or a thickness, and of a cell
    that is repeated because it is too small. If more are needed, the seed is refused. Structures in files may have
    more."""
    plausible_volume: bool = True
    """Refuse parent structures whose volume per atom or density does not occur in condensed matter."""
    neutral: bool = True
    """Refuse structures whose formal charges are known and do not sum to zero."""
    unique: bool = True
    """Discard a seed that is the same as an earlier one up to symmetry and supercell, unless seeds are randomly
    strained or rattled. Seeds of different entries are compared only if nothing in these entries is random."""
    max_redraws: int = Field(default=20, ge=0)
    """Maximum number of redraws of a seed that violates a rule."""
    time_limit_s: PositiveFloat | None = None
    """Maximum time in seconds for one seed. Generation that reaches it ends with an error, so the limit never decides
    which seed is made. By default, no limit is set."""
    on_failure: Literal['fail', 'skip'] | None = None
    """Action after the last redraw: `fail` stops and reports the violated rule, `skip` discards the seed and counts it
    in the report. The default is `skip` for `formula`, `stacking_fault` and `defect` with `sites: distinct`, otherwise
    `fail`."""

    @field_validator('min_distances_A')
    @classmethod
    def _check_pairs(cls, distances: dict[str, float]) -> dict[str, float]:
        for pair, distance in distances.items():
            symbols = pair.split('-')
            if len(symbols) != 2 or distance < 0:
                raise fault(
                    Code.VALUE_INVALID,
                    f"{pair}: {distance:g} is not a pair of elements and a distance in Å, such as 'O-O: 2.0'",
                )
            for symbol in symbols:
                check_symbol(symbol)
        return distances

    @field_validator('min_width_factor')
    @classmethod
    def _check_factor(cls, factor: float | None) -> float | None:
        if factor == 0:
            raise fault(
                Code.VALUE_INVALID, 'min_width_factor must be above 0; to keep a small cell, write cell: as_given'
            )
        return factor

    @model_validator(mode='after')
    def _check_cell(self) -> Self:
        if self.cell == 'as_given' and self.min_width_factor is not None:
            raise fault(Code.VALUES_EXCLUDE, 'cell: as_given has no minimum width; remove cell or min_width_factor')
        return self

    @property
    def width_factor(self) -> float:
        """Minimum perpendicular width of the cell, divided by the cutoff; 0 for none."""
        if self.cell == 'as_given':
            return 0.0
        return DEFAULT_WIDTH_FACTOR if self.min_width_factor is None else self.min_width_factor

    @cached_property
    def pair_limits(self) -> dict[tuple[int, int], float]:
        """Limits in Å for specific pairs of atomic numbers, in both orders."""
        from ase.data import atomic_numbers

        limits = {}
        for pair, distance in self.min_distances_A.items():
            first, second = (atomic_numbers[symbol] for symbol in pair.split('-'))
            limits[first, second] = limits[second, first] = distance
        return limits


def check_parent(
    atoms: Atoms,
    settings: ValidationSettings,
    *,
    charge_allowed: bool = False,
    charge_remedies: str = '',
    molecular: bool = False,
) -> None:
    """Check the formal charge, the volume per atom and the density of a structure before perturbation.

    `charge_remedies` says what to change if the formal charges do not sum to zero. Molecules may form a gas, so their
    volume per atom has no upper limit.

    Raises
    ------
    PhysicsViolationError
        With the rule ``formal_charge``, ``volume_per_atom`` or ``density``.
    """
    formula = atoms.get_chemical_formula()
    if settings.neutral and not charge_allowed:
        charge = float(atoms.get_initial_charges().sum())
        if abs(charge) > CHARGE_TOLERANCE:
            raise PhysicsViolationError(
                'formal_charge',
                (),
                charge,
                0.0,
                f'the sum of the formal charges of {formula} is {charge:+g} e instead of 0'
                + (f'; {charge_remedies}' if charge_remedies else ''),
            )
    if not settings.plausible_volume or not atoms.pbc.all():
        return
    volume = atoms.get_volume() / len(atoms)
    radii = atomic_radii()[atoms.numbers]
    low = MIN_VOLUME_FACTOR * 4 / 3 * np.pi * float(np.mean(radii**3))
    high = MAX_VOLUME_FACTOR * 4 / 3 * np.pi * float(np.mean((radii + VAN_DER_WAALS_EXTRA) ** 3))
    if volume < low or (volume > high and not molecular and empty_layers(atoms).max() < MIN_LAYER_OF_SLAB_A):
        limit = low if volume < low else high
        side = 'below' if volume < low else 'above'
        raise PhysicsViolationError(
            'volume_per_atom', (), volume, limit,
            f'{formula} has {volume:.3g} Å³ per atom, {side} the limit of {limit:.3g} Å³ for these elements',
        )  # fmt: skip
    density = float(atoms.get_masses().sum() / atoms.get_volume() * DALTON_PER_A3)
    if density > MAX_DENSITY:
        raise PhysicsViolationError(
            'density', (), density, MAX_DENSITY,
            f'{formula} has a density of {density:.3g} g/cm³, above the limit of {MAX_DENSITY:g} g/cm³',
        )  # fmt: skip


def check_atoms(atoms: Atoms, settings: ValidationSettings, cutoff_A: float, *, molecular: bool = False) -> None:
    """Check the distances, the isolated atoms and the perpendicular width of the cell.

    If the structure consists of molecules, which the tags number, the contacts between them are checked too, and
    molecules of a single atom may be isolated.

    Raises
    ------
    PhysicsViolationError
        With the rule ``min_distance``, ``contact``, ``isolated_atom`` or ``min_width``.
    """
    from matscipy.neighbours import neighbour_list

    radii = atomic_radii()
    numbers = atoms.numbers
    species = np.unique(numbers)
    reach = 1.25 * 2 * float(radii[species].max())
    limits = {pair: limit for pair, limit in settings.pair_limits.items() if pair[0] in species and pair[1] in species}
    charged = settings.like_charges and atoms.has('initial_charges')
    charges = atoms.get_initial_charges() if charged else np.zeros(len(atoms))
    anions = _are_anions(numbers, charges) if charged else np.zeros(len(atoms), dtype=bool)
    factor = max(settings.min_distance_factor, CATION_FACTOR if charged else 0.0)
    widest = max(factor * float(radii[species].max()), ANION_FACTOR * float(radii[numbers[anions]].max(initial=0.0)))
    cutoff = max(2 * widest, ANION_DISTANCE_O if anions.any() else 0.0, *limits.values(), MIN_SEARCH_A)
    if settings.max_neighbour_factor:
        cutoff = max(cutoff, reach)
    cell = complete_cell(atoms)
    first, second, distances = neighbour_list('ijd', positions=atoms.positions, cell=cell, pbc=atoms.pbc, cutoff=cutoff)
    sums = radii[numbers[first]] + radii[numbers[second]]
    lowest = settings.min_distance_factor * sums
    if charged:
        lowest = np.maximum(lowest, like_charge_limits(numbers, charges, first, second))
    for (one, other), limit in limits.items():
        lowest[(numbers[first] == one) & (numbers[second] == other)] = limit
    _check_distances(atoms, first, second, distances, lowest)
    if molecular:
        check_contacts(atoms, settings.min_contact_factor)
    if settings.max_neighbour_factor and len(atoms) > 1:
        near = distances <= settings.max_neighbour_factor * sums
        exempt = np.isin(numbers, NOBLE_GASES)
        if molecular:
            molecules = atoms.get_tags()
            near &= molecules[first] == molecules[second]
            exempt |= np.bincount(molecules)[molecules] == 1
        _check_isolated(atoms, settings, np.union1d(first[near], np.flatnonzero(exempt)), cell)
    _check_width(atoms, settings, cutoff_A)


def like_charge_limits(numbers: np.ndarray, charges: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the minimum distances of pairs of ions of like charge in Å; 0 for all other pairs.

    Parameters
    ----------
    numbers, charges
        Atomic number and formal charge in e of each ion.
    first, second
        Indices of the ions of each pair: two arrays of the same shape.
    """
    radii = atomic_radii()[numbers]
    anions = _are_anions(numbers, charges)
    both = anions[first] & anions[second]
    cations = (charges[first] > 0) & (charges[second] > 0)
    limits = np.where(both, ANION_FACTOR, np.where(cations, CATION_FACTOR, 0.0)) * (radii[first] + radii[second])
    limits[both & (numbers[first] == 8) & (numbers[second] == 8)] = ANION_DISTANCE_O
    return np.asarray(limits)


def _are_anions(numbers: np.ndarray, charges: np.ndarray) -> np.ndarray:
    """Return which ions are closed-shell anions. Those with open shells (peroxides, pyrite) bond to each other."""
    return np.asarray(charges <= _closed_shells()[numbers] + 0.5)


def _check_distances(
    atoms: Atoms, first: np.ndarray, second: np.ndarray, distances: np.ndarray, lowest: np.ndarray
) -> None:
    shortfall = lowest - distances
    if not len(shortfall) or (worst := int(np.argmax(shortfall))) is None or shortfall[worst] <= 0:
        return
    i, j = sorted((int(first[worst]), int(second[worst])))
    value, limit = float(distances[worst]), float(lowest[worst])
    raise PhysicsViolationError(
        'min_distance', (i, j), value, limit,
        f'atoms {i} ({atoms.symbols[i]}) and {j} ({atoms.symbols[j]}) are {value:.3f} Å apart; '
        f'the limit for this pair is {limit:.3f} Å',
    )  # fmt: skip


def _check_isolated(atoms: Atoms, settings: ValidationSettings, accepted: np.ndarray, cell: np.ndarray) -> None:
    """Check the atoms without a close neighbour, with a neighbour list that extends beyond the limit.

    Accepted atoms have a close neighbour or need none.
    """
    alone = np.setdiff1d(np.arange(len(atoms)), accepted)
    if not len(alone):
        return
    from matscipy.neighbours import neighbour_list

    radii = atomic_radii()[atoms.numbers]
    first, second, distances = neighbour_list(
        'ijd',
        positions=atoms.positions,
        cell=cell,
        pbc=atoms.pbc,
        cutoff=2.5 * settings.max_neighbour_factor * float(radii.max()),
    )
    ratios = distances / (radii[first] + radii[second])
    for atom in alone:
        own = ratios[first == atom]
        nearest = float(own.min()) if len(own) else float('inf')
        if nearest > settings.max_neighbour_factor:
            limit = settings.max_neighbour_factor
            found = f'{nearest:.2f}' if np.isfinite(nearest) else f'more than {2.5 * limit:g}'
            raise PhysicsViolationError(
                'isolated_atom', (int(atom),), min(nearest, 2.5 * limit), limit,
                f'atom {atom} ({atoms.symbols[int(atom)]}) is isolated: the distance to its nearest neighbour is '
                f'{found} times the sum of their covalent radii; the limit is {limit:g}',
            )  # fmt: skip


def _check_width(atoms: Atoms, settings: ValidationSettings, cutoff_A: float) -> None:
    factor = settings.width_factor
    limit = factor * cutoff_A
    if not limit or not atoms.pbc.any():
        return
    widths = np.where(atoms.pbc, perpendicular_widths(atoms), np.inf)
    axis = int(widths.argmin())
    value = float(widths[axis])
    if value < limit * (1 - WIDTH_TOLERANCE):
        formula = atoms.get_chemical_formula()
        raise PhysicsViolationError(
            'min_width', (), value, limit,
            f'the cell of {formula} has a perpendicular width of {value:.2f} Å along vector {axis + 1}; the limit is '
            f'{limit:.2f} Å ({factor:g} times the cutoff of {cutoff_A:g} Å); repeat the cell '
            f'{int(np.ceil(limit / value))} times, lower validation.min_width_factor, or set validation.cell: as_given',
        )  # fmt: skip


@cache
def _closed_shells() -> np.ndarray:
    """Return the charge of the closed-shell anion by atomic number, such as -2 for oxygen; -inf if it has none."""
    from pymatgen.core import Element

    shells = np.full(119, -np.inf)
    shells[1] = -1
    for number in range(2, 119):
        group = Element.from_Z(number).group
        if 14 <= group <= 17:
            shells[number] = group - 18
    return shells


@cache
def atomic_radii() -> np.ndarray:
    """Return covalent radii in Å by atomic number [Cordero 2008 in ASE]; for noble gases, van der Waals radii."""
    from ase.data import covalent_radii, vdw_radii

    radii = np.array(covalent_radii)
    for number in NOBLE_GASES:
        if np.isfinite(vdw_radii[number]):
            radii[number] = vdw_radii[number]
    return radii
