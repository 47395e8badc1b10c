"""Make validated seeds from the entries of a config. Each seed has separate random streams."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError, PhysicsViolationError
from aiida_mlip_autopipe.generation.base import GeneratorSettings, content_label
from aiida_mlip_autopipe.generation.entry import Entry
from aiida_mlip_autopipe.generation.limits import size_limit
from aiida_mlip_autopipe.generation.report import Rejections, notes_added_to
from aiida_mlip_autopipe.structures.duplicates import Fingerprints
from aiida_mlip_autopipe.structures.seed import Seed

# Increase this whenever the same settings and random_seed give different seeds or a different report. Caching then
# ignores older results.
STAGE_VERSION = '19'


@dataclass(frozen=True)
class GenerationResult:
    """The seeds of a slice of the campaign's list, and the report of rejected draws.

    Attributes
    ----------
    seeds
        The seeds in the order of the entries. Duplicates and skipped seeds are left out.
    report
        JSON: ``requested``, ``made``, ``duplicates``, ``skipped``, ``count`` and ``worst`` for each rule, and the same
        for each entry.
        `merge_reports` adds the reports of several slices.
    fingerprints
        Fingerprints for the comparison with the next slice; None if it needs none.
    """

    seeds: tuple[Seed, ...]
    report: dict[str, Any] = field(default_factory=dict)
    fingerprints: Fingerprints | None = None


def count_seeds(entries: Sequence[GeneratorSettings]) -> int:
    """Return the number of seeds that the entries request, including duplicates and seeds that will be skipped."""
    return sum(Entry(settings, 0).n_seeds for settings in entries)


def check_entry(
    settings: GeneratorSettings,
    *,
    random_seed: int,
    cutoff_A: float,
    number: int = 0,
    rejections: Rejections | None = None,
    fingerprints: Fingerprints | None = None,
    inspect: Callable[[Seed], None] | None = None,
    counted: Callable[[int, int], None] | None = None,
) -> Seed | None:
    """Refuse an impossible entry. Return its first seed, or None if the check discards all seeds that it makes.

    The check makes one seed from each listed parent, and one at each point of a volume scan. If parents are drawn at
    random, it makes one for each structure that they use in turn, such as each composition of a grid.

    Parameters
    ----------
    settings, random_seed, cutoff_A
        As for `generate_seeds`.
    number
        Index of the entry in the config.
    rejections
        The counts, to which this call adds.
    fingerprints
        Fingerprints of the seeds of earlier entries, to which this call adds those of the new seeds.
    inspect
        Called with each seed that the check makes. The function raises an error for a seed that cannot be used.
    counted
        Called with the number of seeds of the entry and the number of their parents, before any is made.

    Raises
    ------
    AutopipeError
        If the entry is impossible, one of these seeds violates a rule, or the entry has no valid seed. The message says
        what is possible.
    """
    rejections = Rejections() if rejections is None else rejections
    fingerprints = Fingerprints() if fingerprints is None else fingerprints
    (entry,) = iterate_entries([settings], random_seed=random_seed, cutoff_A=cutoff_A)
    entry.number = number
    if counted is not None:
        counted(entry.n_seeds, entry.n_groups)
    try:
        with size_limit(entry.rules.max_atoms), notes_added_to(rejections.of_entry(number).notes):
            entry.generator.check(entry.requirements)
    except PhysicsViolationError:
        if entry.rules.on_failure == 'fail':
            raise
    if entry.n_seeds == 0 or entry.n_parents == 0:
        raise AutopipeError(
            Code.SEEDS_MISSING, f'generation[{number}]: this entry of kind {settings.kind} contains no structures'
        )
    entry.add_notes(rejections)
    first = None
    listed = entry.seeds_to_check()
    others = sorted(set(range(entry.n_seeds)).difference(listed))
    for n_made, index in enumerate([*listed, *others]):
        if n_made >= len(listed) and first is not None:
            break
        own, counts = fingerprints.own if entry.may_repeat else None, Rejections()
        made = entry.make_one(index, own, counts, fingerprints.known)
        rejections.add_seed(number, counts)
        entry.end_if_hopeless(rejections, counts)
        if made is not None and inspect is not None:
            inspect(made)
        first = first or made
    entry.end(rejections, fingerprints)
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
    """Make a slice of the list of seeds, in which the seeds of all entries follow one another.

    Every seed is drawn from a separate stream, which is derived from `random_seed` and the content of its entry.
    Requesting a different slice, or adding a seed or an entry, does not change the other seeds. The second of two
    identical entries gives different seeds.

    Parameters
    ----------
    entries
        The config's ``generation`` list.
    random_seed
        The random seed of the campaign.
    cutoff_A
        Cutoff of the calculator in Å, for the minimum perpendicular width of the cells.
    start, stop
        The slice, as for a Python list of `count_seeds` items.
    fingerprints
        The fingerprints in the result of the previous slice, for the comparison with this slice.

    Raises
    ------
    PhysicsViolationError
        If a seed still violates a rule after the last redraw.
    AutopipeError
        If an entry is impossible, or required fingerprints are missing.
    """
    listed = list(iterate_entries(entries, random_seed=random_seed, cutoff_A=cutoff_A))
    if fingerprints is None and _needs_fingerprints(listed, start):
        raise AutopipeError(
            Code.VALUE_MISSING,
            f'a slice that starts at seed {start} needs the fingerprints of the previous slice to find duplicates',
        )
    # A copy, so that the caller can use the same fingerprints again.
    copied = Fingerprints(set(fingerprints.own), set(fingerprints.known)) if fingerprints else Fingerprints()
    rejections = Rejections()
    seeds: list[Seed] = []
    for entry, offset in _with_offsets(listed):
        first, last = max(start - offset, 0), entry.n_seeds if stop is None else min(stop - offset, entry.n_seeds)
        if first < last:
            seeds += entry.make(first, last, rejections, copied)
    more = stop is not None and _needs_fingerprints(listed, stop)
    return GenerationResult(tuple(seeds), rejections.as_dict(), copied if more else None)


def iterate_seeds(
    entries: Sequence[GeneratorSettings], *, random_seed: int, cutoff_A: float, rejections: Rejections | None = None
) -> Iterator[Seed]:
    """Make the seeds of `generate_seeds` one by one. Only fingerprints of seeds that may have duplicates are stored."""
    rejections = Rejections() if rejections is None else rejections
    fingerprints = Fingerprints()
    for entry in iterate_entries(entries, random_seed=random_seed, cutoff_A=cutoff_A):
        yield from entry.make(0, entry.n_seeds, rejections, fingerprints)


def iterate_entries(entries: Sequence[GeneratorSettings], *, random_seed: int, cutoff_A: float) -> Iterator[Entry]:
    """Yield the entries with their random streams. Each entry is made on demand."""
    seen: Counter[str] = Counter()
    for number, settings in enumerate(entries):
        label = content_label(settings)
        yield Entry(settings, random_seed, label, seen[label], cutoff_A, number)
        seen[label] += 1


def _with_offsets(entries: Sequence[Entry]) -> Iterator[tuple[Entry, int]]:
    """Yield each entry with the number of seeds before it."""
    offset = 0
    for entry in entries:
        yield entry, offset
        offset += entry.n_seeds


def _needs_fingerprints(entries: Sequence[Entry], start: int) -> bool:
    """Return whether a seed from `start` on is compared with an earlier one."""
    compared_before = False
    for entry, offset in _with_offsets(entries):
        begins_before, ends_after = offset < start and entry.n_seeds > 0, offset + entry.n_seeds > start
        if ends_after and ((begins_before and entry.may_repeat) or (compared_before and entry.is_compared)):
            return True
        compared_before = compared_before or (begins_before and entry.is_compared)
    return False
