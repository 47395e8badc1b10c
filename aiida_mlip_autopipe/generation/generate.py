"""From the entries of a config to validated seeds, each from random streams of its own."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.errors import PhysicsViolationError
from aiida_mlip_autopipe.generation.base import (
    GENERATORS,
    Generator,
    GeneratorSettings,
    Parent,
    Requirements,
    content_label,
    round_floats,
)
from aiida_mlip_autopipe.generation.fingerprint import fingerprint
from aiida_mlip_autopipe.generation.nested import grow
from aiida_mlip_autopipe.generation.perturb import perturb_atoms
from aiida_mlip_autopipe.generation.report import Rejections
from aiida_mlip_autopipe.generation.validation import check_atoms, check_parent
from aiida_mlip_autopipe.randomness import derive_random_seed, make_rng
from aiida_mlip_autopipe.seeds import Place, Seed

# Changes whenever the same settings and random_seed give other seeds than before, or the report other figures: a cached
# result of the stage is then made anew.
STAGE_VERSION = '2'


@dataclass(frozen=True)
class GenerationResult:
    """The seeds of a slice of the campaign's list, and what was rejected on the way.

    Attributes
    ----------
    seeds
        In the order of the entries; duplicates and skipped seeds are missing.
    report
        JSON: ``requested``, ``made``, ``duplicates``, ``skipped`` and by rule ``count`` and ``worst``;
        `merge_reports` adds those of several slices.
    """

    seeds: tuple[Seed, ...]
    report: dict[str, Any] = field(default_factory=dict)


def count_seeds(entries: Sequence[GeneratorSettings]) -> int:
    """Return how many seeds the entries ask for; duplicates and skipped ones are found only by making them."""
    return sum(Entry(settings, 0).n_seeds for settings in entries)


def check_entry(settings: GeneratorSettings, *, random_seed: int, cutoff_A: float) -> Seed | None:
    """Refuse an entry that asks for what does not exist, and return its first seed, or None if that is left out.

    Raises
    ------
    AutopipeError
        If the entry is impossible, or its first seed breaks a rule; the sentence names what is possible.
    """
    (entry,) = list_entries([settings], random_seed=random_seed, cutoff_A=cutoff_A)
    try:
        entry.generator.check(entry.requirements)
    except PhysicsViolationError:
        if entry.rules.on_failure == 'fail':
            raise
    return next(entry.make(0, entry.n_seeds, Rejections()), None)


def generate_seeds(
    entries: Sequence[GeneratorSettings], *, random_seed: int, cutoff_A: float, start: int = 0, stop: int | None = None
) -> GenerationResult:
    """Make the seeds of a slice of the flat list over all entries.

    Every seed is drawn from a stream of its own, derived from `random_seed` and the content of its entry: another
    slice, one more seed, or one more entry anywhere changes no other. The second of two equal entries has seeds of
    its own.

    Parameters
    ----------
    entries
        The config's ``generation`` list.
    random_seed
        The campaign's number.
    cutoff_A
        Cutoff of the calculator, for the smallest height of the cells.
    start, stop
        The slice, as for a Python list of `count_seeds` items.

    Raises
    ------
    PhysicsViolationError
        If a seed still breaks a rule after the last redraw.
    AutopipeError
        If an entry asks for what does not exist.
    """
    rejections = Rejections()
    seeds = tuple(
        iterate_seeds(
            entries, random_seed=random_seed, cutoff_A=cutoff_A, start=start, stop=stop, rejections=rejections
        )
    )
    return GenerationResult(seeds, rejections.as_dict())


def iterate_seeds(
    entries: Sequence[GeneratorSettings],
    *,
    random_seed: int,
    cutoff_A: float,
    start: int = 0,
    stop: int | None = None,
    rejections: Rejections | None = None,
) -> Iterator[Seed]:
    """Make seeds one by one, as `generate_seeds` does, and keep none: memory does not grow with their number."""
    rejections = Rejections() if rejections is None else rejections
    offset = 0
    for entry in list_entries(entries, random_seed=random_seed, cutoff_A=cutoff_A):
        first = max(start - offset, 0)
        last = entry.n_seeds if stop is None else min(stop - offset, entry.n_seeds)
        yield from entry.make(first, last, rejections)
        offset += entry.n_seeds


def list_entries(entries: Sequence[GeneratorSettings], *, random_seed: int, cutoff_A: float) -> Iterator[Entry]:
    """Yield the entries with their streams, each made when it is asked for."""
    seen: Counter[str] = Counter()
    for settings in entries:
        label = content_label(settings)
        yield Entry(settings, random_seed, label, seen[label], cutoff_A)
        seen[label] += 1


class Entry:
    """One entry of the list: which parent and which variant its seeds are, and their streams."""

    def __init__(
        self, settings: GeneratorSettings, random_seed: int, label: str = '', occurrence: int = 0, cutoff_A: float = 0.0
    ):
        self.arguments = (settings, random_seed, label, occurrence, cutoff_A)
        self.settings = settings
        self.generator: Generator = GENERATORS.make(settings)
        self.cutoff_A = cutoff_A
        self.streams = (random_seed, 'generation', label, str(occurrence))
        self.rules, perturb = settings.rules, settings.perturb
        self.requirements = Requirements(
            (self.rules.min_height_factor or 0.0) * cutoff_A / perturb.smallest_stretch / min(perturb.supercell),
            self.rules.max_atoms,
        )
        self.n_parents = self.generator.n_parents()
        self.period = self.generator.period()
        self.offset = derive_random_seed(random_seed, 'place', label, str(occurrence)) % 2**32
        self.n_seeds = self.generator.default_n_seeds() if settings.n_seeds is None else settings.n_seeds
        self._last_parent: tuple[int, Parent] | None = None

    def locate(self, index: int) -> tuple[int, int]:
        """Return which parent a seed comes from and which of its variants it is."""
        if self.n_parents is None:
            return divmod(index, self.settings.perturb.variants)
        variant, parent = divmod(index, self.n_parents)
        return parent, variant

    def place(self, index: int) -> Place:
        """Return where a seed stands in the entry."""
        parent, variant = self.locate(index)
        perturb = self.settings.perturb
        scan, period = max(1, len(perturb.volume_scan)), self.period
        return Place(
            self.offset,
            parent % period * scan + variant % scan,
            parent // period * -(-perturb.variants // scan) + variant // scan,
        )

    def make(self, first: int, last: int, rejections: Rejections) -> Iterator[Seed]:
        """Make seeds `first` to `last`; where duplicates can occur the earlier ones are made too, to know them."""
        fingerprints: set[str] | None = set() if self.may_repeat else None
        if first >= last:
            return
        for index in range(first if fingerprints is None else 0, last):
            seed = self.make_one(index, fingerprints, rejections if index >= first else Rejections())
            if seed is not None and index >= first:
                yield seed

    @property
    def may_repeat(self) -> bool:
        """Whether two seeds may be the same structure."""
        return not self.settings.perturb.is_random

    def make_one(self, index: int, fingerprints: set[str] | None, rejections: Rejections) -> Seed | None:
        """Make one seed and count it; None if it is left out.

        Parameters
        ----------
        index
            Which seed of the entry.
        fingerprints
            Those of the seeds before it, to which its own is added; None where seeds cannot repeat.
        rejections
            What is counted.
        """
        rejections.requested += 1
        try:
            seed = self._draw_seed(index, fingerprints, rejections)
        except PhysicsViolationError as violation:
            if self.rules.on_failure == 'fail':
                raise PhysicsViolationError(
                    violation.rule, violation.atoms, violation.value, violation.limit,
                    f'{self._name()}: {violation}',
                ) from None  # fmt: skip
            rejections.skipped += 1
            return None
        if seed is None:
            rejections.duplicates += 1
            return None
        rejections.made += 1
        return replace(seed, place=self.place(index))

    def _name(self) -> str:
        settings = self.settings
        label = f' {settings.label!r}' if settings.label else ''
        return f'no valid seed of the {settings.kind} entry{label} after {self.rules.max_redraws} redraws'

    def _draw_seed(self, index: int, fingerprints: set[str] | None, rejections: Rejections) -> Seed | None:
        """Return a valid seed, or None if it is a duplicate of an earlier one."""
        number, variant = self.locate(index)
        if fingerprints is None or self.settings.perturb.variants > 1:
            parent = self._parent(number, rejections)
            return self._vary(parent, number, variant, fingerprints, rejections)
        rng = make_rng(*self.streams, 'parent', str(number))
        for _ in range(self.rules.max_redraws + 1):
            state = rng.bit_generator.state
            parent = self._draw_parent(number, rng, rejections)
            seed = self._vary(parent, number, variant, fingerprints, rejections)
            if seed is not None or rng.bit_generator.state == state:
                return seed
        return None

    def _parent(self, number: int, rejections: Rejections) -> Parent:
        if self._last_parent is None or self._last_parent[0] != number:
            rng = make_rng(*self.streams, 'parent', str(number))
            self._last_parent = (number, self._draw_parent(number, rng, rejections))
        return self._last_parent[1]

    def _draw_parent(self, number: int, rng: np.random.Generator, rejections: Rejections) -> Parent:
        """Draw a parent until it is valid; a draw that used no random number cannot go better the next time."""
        rules = self.rules
        for attempt in range(rules.max_redraws + 1):
            state = rng.bit_generator.state
            try:
                parent = self.generator.draw_parent(number, rng, self.requirements)
                _set_moments(parent.atoms, self.settings.magnetic_moments)
                parent = grow(parent, self.requirements)
                check_parent(parent.atoms, rules, charge_allowed=parent.charge_allowed)
                if self.settings.perturb.supercell == (1, 1, 1):
                    check_atoms(parent.atoms, rules, self.cutoff_A)
                return parent
            except PhysicsViolationError as violation:
                rejections.add(violation)
                if attempt == rules.max_redraws or rng.bit_generator.state == state:
                    raise
        raise AssertionError('the last attempt returns or raises')

    def _vary(
        self, parent: Parent, number: int, variant: int, fingerprints: set[str] | None, rejections: Rejections
    ) -> Seed | None:
        rules, perturb = self.rules, self.settings.perturb
        atoms = parent.atoms
        perturbation: dict[str, Any] = {}
        if not perturb.is_identity:
            rng = make_rng(*self.streams, 'variant', str(number), str(variant))
            for attempt in range(rules.max_redraws + 1):
                atoms, perturbation = perturb_atoms(parent.atoms, perturb, variant, rng, parent.deformable)
                try:
                    check_atoms(atoms, rules, self.cutoff_A)
                    break
                except PhysicsViolationError as violation:
                    rejections.add(violation)
                    if attempt == rules.max_redraws or not perturb.is_random:
                        raise
        if fingerprints is not None:
            mark = fingerprint(atoms)
            if mark in fingerprints:
                return None
            fingerprints.add(mark)
        record = {'kind': self.settings.kind, **parent.record, 'ancestor': ancestor_id(parent.atoms)}
        if perturbation:
            record['perturbation'] = perturbation
        if self.settings.label:
            record['label'] = self.settings.label
        return Seed(atoms.copy() if atoms is parent.atoms else atoms, round_floats(record))


def ancestor_id(parent: Atoms) -> str:
    """Return the hash of a structure before perturbation, 16 hexadecimal digits."""
    return hashlib.sha256(Seed(parent).seed_id.encode()).hexdigest()[:16]


def _set_moments(atoms: Atoms, moments: dict[str, float]) -> None:
    if not moments:
        return
    values = atoms.get_initial_magnetic_moments()
    for symbol, moment in moments.items():
        values[atoms.symbols == symbol] = moment
    atoms.set_initial_magnetic_moments(values)
