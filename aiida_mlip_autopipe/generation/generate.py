"""From the entries of a config to validated seeds, each from random streams of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError, PhysicsViolationError
from aiida_mlip_autopipe.generation.base import GeneratorSettings, content_label
from aiida_mlip_autopipe.generation.entry import Entry
from aiida_mlip_autopipe.generation.report import Rejections
from aiida_mlip_autopipe.structures.duplicates import Fingerprints
from aiida_mlip_autopipe.structures.seed import Seed

# Changes whenever the same settings and random_seed give other seeds than before, or the report other figures: a cached
# result of the stage is then made anew.
STAGE_VERSION = '9'


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
    fingerprints
        Fingerprints that the next slice is compared with; None if it is not compared.
    """

    seeds: tuple[Seed, ...]
    report: dict[str, Any] = field(default_factory=dict)
    fingerprints: Fingerprints | None = None


def count_seeds(entries: Sequence[GeneratorSettings]) -> int:
    """Return how many seeds the entries ask for; duplicates and skipped ones are found only by making them."""
    return sum(Entry(settings, 0).n_seeds for settings in entries)


def check_entry(settings: GeneratorSettings, *, random_seed: int, cutoff_A: float) -> Seed | None:
    """Refuse an entry that asks for what does not exist, and return its first seed, or None if all are left out.

    One seed is made of each parent that is listed, and one at each point of a volume scan; of what is drawn at random
    the first of each structure that is taken in turn.

    Raises
    ------
    AutopipeError
        If the entry is impossible, or one of these seeds breaks a rule; the sentence names what is possible.
    """
    (entry,) = list_entries([settings], random_seed=random_seed, cutoff_A=cutoff_A)
    try:
        entry.generator.check(entry.requirements)
    except PhysicsViolationError:
        if entry.rules.on_failure == 'fail':
            raise
    first = None
    for index in entry.samples():
        made = entry.make_one(index, None, Rejections())
        first = first or made
    return first


def generate_seeds(
    entries: Sequence[GeneratorSettings],
    *,
    random_seed: int,
    cutoff_A: float,
    start: int = 0,
    stop: int | None = None,
    fingerprints: Fingerprints | None = None,
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
    fingerprints
        The fingerprints from the result of the previous slice, which this slice is compared with.

    Raises
    ------
    PhysicsViolationError
        If a seed still breaks a rule after the last redraw.
    AutopipeError
        If an entry asks for what does not exist, or fingerprints are needed and not given.
    """
    listed = list(list_entries(entries, random_seed=random_seed, cutoff_A=cutoff_A))
    if fingerprints is None and _needs_fingerprints(listed, start):
        raise AutopipeError(
            Code.VALUE_MISSING, f'seeds from {start} on need the fingerprints of the earlier ones to find duplicates'
        )
    # A copy, so that the caller can use the same fingerprints again.
    marks = Fingerprints(set(fingerprints.own), set(fingerprints.known)) if fingerprints else Fingerprints()
    rejections = Rejections()
    seeds: list[Seed] = []
    for entry, offset in _with_offsets(listed):
        first, last = max(start - offset, 0), entry.n_seeds if stop is None else min(stop - offset, entry.n_seeds)
        if first < last:
            seeds += entry.make(first, last, rejections, marks)
    more = stop is not None and _needs_fingerprints(listed, stop)
    return GenerationResult(tuple(seeds), rejections.as_dict(), marks if more else None)


def iterate_seeds(
    entries: Sequence[GeneratorSettings], *, random_seed: int, cutoff_A: float, rejections: Rejections | None = None
) -> Iterator[Seed]:
    """Make all seeds one by one, as `generate_seeds` does; keep only fingerprints of seeds that may have duplicates."""
    rejections = Rejections() if rejections is None else rejections
    fingerprints = Fingerprints()
    for entry in list_entries(entries, random_seed=random_seed, cutoff_A=cutoff_A):
        yield from entry.make(0, entry.n_seeds, rejections, fingerprints)


def list_entries(entries: Sequence[GeneratorSettings], *, random_seed: int, cutoff_A: float) -> Iterator[Entry]:
    """Yield the entries with their streams, each made when it is asked for."""
    seen: Counter[str] = Counter()
    for settings in entries:
        label = content_label(settings)
        yield Entry(settings, random_seed, label, seen[label], cutoff_A)
        seen[label] += 1


def _with_offsets(entries: Sequence[Entry]) -> Iterator[tuple[Entry, int]]:
    """Yield each entry with the number of seeds before it."""
    offset = 0
    for entry in entries:
        yield entry, offset
        offset += entry.n_seeds


def _needs_fingerprints(entries: Sequence[Entry], start: int) -> bool:
    """Return whether a seed from `start` on is compared with one before it."""
    compared_before = False
    for entry, offset in _with_offsets(entries):
        begins_before, ends_after = offset < start and entry.n_seeds > 0, offset + entry.n_seeds > start
        if ends_after and ((begins_before and entry.may_repeat) or (compared_before and entry.is_compared)):
            return True
        compared_before = compared_before or (begins_before and entry.is_compared)
    return False
