"""One entry of the config: the parents and variants of its seeds, and their random streams."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError, PhysicsViolationError
from aiida_mlip_autopipe.core.randomness import derive_random_seed, make_rng
from aiida_mlip_autopipe.generation.base import (
    GENERATORS,
    Generator,
    GeneratorSettings,
    Parent,
    Requirements,
    round_floats,
)
from aiida_mlip_autopipe.generation.limits import check_size, check_time, show_progress, size_limit, time_limit
from aiida_mlip_autopipe.generation.nested import repeat_to_width
from aiida_mlip_autopipe.generation.perturb import check_deformable, perturb_atoms
from aiida_mlip_autopipe.generation.report import Rejections, notes_added_to
from aiida_mlip_autopipe.generation.validation import check_atoms, check_parent
from aiida_mlip_autopipe.structures.duplicates import Fingerprints, content_digest, fingerprint
from aiida_mlip_autopipe.structures.seed import Place, Seed

# An entry without a valid seed ends after this number of rejected random draws. With the default of 20 redraws, two
# seeds reach it.
MAX_REJECTED_DRAWS = 40


class Entry:
    """An entry with its generator and its random streams."""

    def __init__(
        self,
        settings: GeneratorSettings,
        random_seed: int,
        label: str = '',
        occurrence: int = 0,
        cutoff_A: float = 0.0,
        number: int = 0,
    ):
        self.arguments = (settings, random_seed, label, occurrence, cutoff_A, number)
        self.number = number
        self.settings = settings
        self.generator: Generator = GENERATORS.make(settings)
        self.cutoff_A = cutoff_A
        self.streams = (random_seed, 'generation', label, str(occurrence))
        self.rules, perturb = settings.rules, settings.perturb
        self.requirements = Requirements(
            self.rules.width_factor * cutoff_A / perturb.smallest_stretch / min(perturb.supercell),
            self.rules.max_atoms,
            cutoff_A,
        )
        self.offset = derive_random_seed(random_seed, 'place', label, str(occurrence)) % 2**32
        with size_limit(self.rules.max_atoms):
            self.n_parents = self.generator.n_parents()
            self.period = self.generator.period()
            self.n_seeds = self.generator.default_n_seeds() if settings.n_seeds is None else settings.n_seeds
        self._last_parent: tuple[int, Parent] | None = None
        self._n_rejected = 0

    def locate(self, index: int) -> tuple[int, int]:
        """Return the index of the parent of a seed, and the index of the variant."""
        if self.n_parents is None:
            return divmod(index, self.settings.perturb.variants)
        variant, parent = divmod(index, self.n_parents)
        return parent, variant

    def seeds_to_check(self) -> list[int]:
        """Return the indices of the seeds that must be made to find out whether the settings are possible."""
        perturb, n_parents = self.settings.perturb, self.generator.n_parents_to_check()
        stride = 1 if self.n_parents is None else self.n_parents
        of_parents = [number * (perturb.variants if self.n_parents is None else 1) for number in range(n_parents)]
        of_scan = [variant * stride for variant in range(min(len(perturb.volume_scan), perturb.variants))]
        return [index for index in sorted({*of_parents, *of_scan}) if index < self.n_seeds]

    def place(self, index: int) -> Place:
        """Return the position of a seed in the entry."""
        parent, variant = self.locate(index)
        perturb = self.settings.perturb
        scan, period = max(1, len(perturb.volume_scan)), self.period
        return Place(
            self.offset,
            parent % period * scan + variant % scan,
            parent // period * -(-perturb.variants // scan) + variant // scan,
        )

    @property
    def n_groups(self) -> int:
        """Number of different parents of the seeds."""
        if self.n_parents is None:
            return -(-self.n_seeds // self.settings.perturb.variants)
        return min(self.n_seeds, self.n_parents)

    @property
    def may_repeat(self) -> bool:
        """Whether two seeds can be the same structure, so that the second one is discarded."""
        return self.rules.unique and not self.settings.perturb.is_random

    @property
    def is_compared(self) -> bool:
        """Whether its seeds are compared with those of other entries. An entry with any randomness is not compared."""
        return self.may_repeat and self.n_parents is not None

    def make(self, first: int, last: int, rejections: Rejections, fingerprints: Fingerprints) -> Iterator[Seed]:
        """Make seeds `first` to `last - 1`.

        Parameters
        ----------
        first, last
            The range of seeds of the entry.
        rejections
            The counts, which this call updates.
        fingerprints
            Fingerprints of the seeds before `first`. This call adds those of the new seeds.
        """
        self.begin_at(first)
        if first == 0:
            self.add_notes(rejections)
        for index in range(first, last):
            own = fingerprints.own if self.may_repeat else None
            counted = Rejections()
            seed = self.make_one(index, own, counted, fingerprints.known)
            rejections.add_seed(self.number, counted)
            if first == 0:
                self.end_if_hopeless(rejections, counted)
            if seed is not None:
                yield seed
        if last == self.n_seeds:
            self.end(rejections, fingerprints)

    def add_notes(self, rejections: Rejections) -> None:
        """Add what the entry leaves out to the report."""
        with size_limit(self.rules.max_atoms):
            rejections.of_entry(self.number).notes += self.generator.notes()

    def end(self, rejections: Rejections, fingerprints: Fingerprints) -> None:
        """End the entry after its last seed.

        Raises
        ------
        AutopipeError
            If none of its seeds is valid.
        """
        fingerprints.end_entry(is_compared=self.is_compared)
        if reason := rejections.why_empty(self.number, self.n_seeds):
            raise AutopipeError(Code.SEEDS_MISSING, reason)

    def end_if_hopeless(self, rejections: Rejections, counted: Rejections) -> None:
        """End an entry whose random draws are all rejected. The criterion is the number of draws, not the time.

        Parameters
        ----------
        rejections
            The counts since the first seed of the entry.
        counted
            The counts of the last seed.

        Raises
        ------
        AutopipeError
            If the entry has no valid seed, and `MAX_REJECTED_DRAWS` draws were rejected.
        """
        if counted.is_redrawn:
            self._n_rejected += counted.n_rejected
        if self._n_rejected >= MAX_REJECTED_DRAWS and (reason := rejections.why_empty(self.number, 0)):
            raise AutopipeError(Code.SEEDS_MISSING, reason)

    def begin_at(self, index: int) -> None:
        """Restore the state after the previous seed, without counting the rejected draws of its parent again."""
        if index == 0:  # also for an entry without parents, and thus without seeds
            self._last_parent = None
            return
        number = self.locate(index)[0]
        if self.locate(index - 1)[0] != number:
            self._last_parent = None
        elif self._shares_parents:
            with suppress(PhysicsViolationError), size_limit(self.rules.max_atoms):
                self._shared_parent(number, Rejections())

    def make_one(
        self, index: int, own: set[str] | None, rejections: Rejections, known: Collection[str] = ()
    ) -> Seed | None:
        """Make one seed and count it. Return None if it is discarded.

        Parameters
        ----------
        index
            Index of the seed in the entry.
        own
            Fingerprints of the earlier seeds of the entry. This call adds one. None if duplicates are kept.
        rejections
            The counts, which this call updates.
        known
            Fingerprints of seeds of other entries. A seed with one of these is discarded and not redrawn, so that no
            entry changes the seeds of another.
        """
        rejections.requested += 1
        limit = self.rules.time_limit_s
        try:
            show_progress(f'seed {index + 1} of {self.n_seeds} of kind {self.settings.kind}')
            message = f'{self._name} takes longer than {limit} s for a seed; raise validation.time_limit_s'
            with time_limit(limit, message), size_limit(self.rules.max_atoms), notes_added_to(rejections.notes):
                seed, digest = self._draw_seed(index, own, rejections)
        except PhysicsViolationError as violation:
            if self.rules.on_failure == 'fail':
                raise PhysicsViolationError(
                    violation.rule, violation.atoms, violation.value, violation.limit,
                    f'{self._failure_message()}: {violation}',
                ) from None  # fmt: skip
            rejections.skipped += 1
            return None
        if seed is None or (self.is_compared and digest in known):
            rejections.duplicates += 1
            return None
        rejections.made += 1
        return replace(seed, place=self.place(index), entry=self.number)

    @property
    def _name(self) -> str:
        label = f' {self.settings.label!r}' if self.settings.label else ''
        return f'the {self.settings.kind} entry{label}'

    def _failure_message(self) -> str:
        redraws = 'redraw' if self.rules.max_redraws == 1 else 'redraws'
        return f'no valid seed for {self._name} after {self.rules.max_redraws} {redraws}'

    def _draw_seed(self, index: int, own: set[str] | None, rejections: Rejections) -> tuple[Seed | None, str | None]:
        """Return a valid seed (None if it is a duplicate) and its fingerprint (None if duplicates are kept)."""
        number, variant = self.locate(index)
        if self._shares_parents:
            parent = self._shared_parent(number, rejections)
            return self._make_variant(parent, number, variant, own, rejections)
        rng = make_rng(*self.streams, 'parent', str(number))
        for _ in range(self.rules.max_redraws + 1):
            state = rng.bit_generator.state
            parent = self._draw_parent(number, rng, rejections)
            seed, digest = self._make_variant(parent, number, variant, own, rejections)
            if seed is not None or rng.bit_generator.state == state:
                return seed, digest
        return None, None

    def _digest(self, atoms: Atoms) -> str:
        """Return a hash that is equal for duplicates."""
        if not self.settings.only_identical:
            return fingerprint(atoms)
        return content_digest(atoms.numbers, atoms.pbc, atoms.cell.array, atoms.positions).hex()

    @property
    def _shares_parents(self) -> bool:
        """Whether all variants of a parent use the same draw. Otherwise the parent of a duplicate is redrawn."""
        return not self.may_repeat or self.settings.perturb.variants > 1

    def _shared_parent(self, number: int, rejections: Rejections) -> Parent:
        if self._last_parent is None or self._last_parent[0] != number:
            rng = make_rng(*self.streams, 'parent', str(number))
            self._last_parent = (number, self._draw_parent(number, rng, rejections))
        return self._last_parent[1]

    def _draw_parent(self, number: int, rng: np.random.Generator, rejections: Rejections) -> Parent:
        """Draw a parent until it is valid. If a draw uses no random numbers, it is not repeated."""
        rules = self.rules
        for attempt in range(rules.max_redraws + 1):
            state = rng.bit_generator.state
            check_time()
            try:
                parent = self.generator.draw_parent(number, rng, self.requirements)
                _set_moments(parent.atoms, self.settings.magnetic_moments)
                parent = repeat_to_width(parent, self.requirements)
                check_parent(
                    parent.atoms, rules,
                    charge_allowed=parent.charge_allowed, charge_remedies=parent.charge_remedies,
                    molecular=parent.molecular,
                )  # fmt: skip
                check_deformable(parent.atoms, self.settings.perturb, parent.deformable)
                if self.settings.perturb.supercell == (1, 1, 1):
                    check_atoms(parent.atoms, rules, self.cutoff_A, molecular=parent.molecular)
                return parent
            except PhysicsViolationError as violation:
                rejections.add(violation)
                if attempt == rules.max_redraws or rng.bit_generator.state == state:
                    raise
        raise AssertionError('the last attempt returns or raises')

    def _make_variant(
        self, parent: Parent, number: int, variant: int, own: set[str] | None, rejections: Rejections
    ) -> tuple[Seed | None, str | None]:
        rules, perturb = self.rules, self.settings.perturb
        atoms = parent.atoms
        perturbation: dict[str, Any] = {}
        if not perturb.is_identity:
            _check_repeats(parent.atoms, perturb.supercell)
            rng = make_rng(*self.streams, 'variant', str(number), str(variant))
            for attempt in range(rules.max_redraws + 1):
                check_time()
                atoms, perturbation = perturb_atoms(
                    parent.atoms, perturb, variant, rng, parent.deformable, molecular=parent.molecular
                )
                try:
                    check_atoms(atoms, rules, self.cutoff_A, molecular=parent.molecular)
                    break
                except PhysicsViolationError as violation:
                    rejections.add(violation)
                    if attempt == rules.max_redraws or not perturb.is_random:
                        raise
        digest = None if own is None else self._digest(atoms)
        if own is not None and digest is not None:
            if digest in own:
                return None, digest
            own.add(digest)
        record = {'kind': self.settings.kind, **parent.record, 'parent': parent_id(parent.atoms)}
        if parent.form:
            record['form'] = parent.form
        if parent.molecular:
            record['molecular'] = True
        if perturbation:
            record['perturbation'] = perturbation
        if self.settings.label:
            record['label'] = self.settings.label
        return Seed(atoms.copy() if atoms is parent.atoms else atoms, round_floats(record)), digest


def parent_id(parent: Atoms) -> str:
    """Return the hash of a parent structure, 16 hexadecimal digits."""
    return hashlib.sha256(Seed(parent).seed_id.encode()).hexdigest()[:16]


def _check_repeats(atoms: Atoms, supercell: tuple[int, int, int]) -> None:
    """Refuse a supercell with too many atoms."""
    if supercell != (1, 1, 1):
        check_size(len(atoms) * prod(supercell), f'perturb.supercell {list(supercell)}')


def _set_moments(atoms: Atoms, moments: dict[str, float]) -> None:
    if not moments:
        return
    values = atoms.get_initial_magnetic_moments()
    for symbol, moment in moments.items():
        values[atoms.symbols == symbol] = moment
    atoms.set_initial_magnetic_moments(values)
