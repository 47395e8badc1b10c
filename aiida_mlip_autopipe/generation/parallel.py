"""The seeds of a campaign by several processes: the same as by one, in the same order."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any

from aiida_mlip_autopipe.generation.base import GeneratorSettings
from aiida_mlip_autopipe.generation.entry import Entry
from aiida_mlip_autopipe.generation.generate import iterate_seeds, list_entries
from aiida_mlip_autopipe.generation.processes import crew, spread
from aiida_mlip_autopipe.generation.report import Rejections
from aiida_mlip_autopipe.structures.duplicates import Fingerprints
from aiida_mlip_autopipe.structures.seed import Seed

SEEDS_PER_CALL = 16

# The seed or None, its fingerprint where seeds can repeat, and the report of making it.
_Made = tuple[Seed | None, str | None, dict[str, Any]]


def iterate_seeds_in_processes(
    entries: Sequence[GeneratorSettings], *, random_seed: int, cutoff_A: float, processes: int, rejections: Rejections
) -> Iterator[Seed]:
    """Make all seeds one by one, as `iterate_seeds` does: the same bits and the same report at any number of processes.

    A few seeds a process are in memory at a time. What would take a single process no longer than a second starts no
    other.

    Parameters
    ----------
    entries, random_seed, cutoff_A
        As for `iterate_seeds`.
    processes
        How many at most.
    rejections
        What is rejected on the way.
    """
    if processes == 1:
        yield from iterate_seeds(entries, random_seed=random_seed, cutoff_A=cutoff_A, rejections=rejections)
        return
    listed = list_entries(entries, random_seed=random_seed, cutoff_A=cutoff_A)
    fingerprints = Fingerprints()
    with crew(processes):
        for spreads_itself, group in groupby(listed, key=lambda entry: entry.generator.spreads_itself):
            if spreads_itself:
                for entry in group:
                    yield from entry.make(0, entry.n_seeds, rejections, fingerprints)
            else:
                yield from _make_group(list(group), processes, rejections, fingerprints)


def _make_group(
    entries: list[Entry], processes: int, rejections: Rejections, fingerprints: Fingerprints
) -> Iterator[Seed]:
    def calls() -> Iterator[tuple[int, range]]:
        for number, entry in enumerate(entries):
            step = max(1, min(SEEDS_PER_CALL, entry.n_seeds // (4 * processes)))
            for first in range(0, entry.n_seeds, step):
                yield number, range(first, min(first + step, entry.n_seeds))

    pickled = [pickle.dumps(entry.arguments) for entry in entries]
    current = 0
    results = spread(_make_alone, ((pickled[number], indices) for number, indices in calls()), queued=processes)
    for (number, indices), made in zip(calls(), results, strict=True):
        if number != current:
            fingerprints.end_entry(is_compared=entries[current].is_compared)
            current = number
        for index, one in zip(indices, made, strict=True):
            seed, mark, report = one
            if mark in fingerprints.own or mark in fingerprints.known:
                # Made without knowing the others, it is the first draw only: go on from there as one process would.
                counted = Rejections()
                entries[number].begin_at(index)
                seed, report = (
                    entries[number].make_one(index, fingerprints.own, counted, fingerprints.known),
                    counted.as_dict(),
                )
            elif mark is not None:
                fingerprints.own.add(mark)
            rejections.merge(report)
            if seed is not None:
                yield seed
    fingerprints.end_entry(is_compared=entries[current].is_compared)


def _make_alone(pickled: bytes, indices: range) -> list[_Made]:
    """Make seeds of an entry, each as if there were no other."""
    entry = _entry(pickled)
    entry.begin_at(indices.start)
    made: list[_Made] = []
    for index in indices:
        marks: set[str] | None = set() if entry.may_repeat else None
        counted = Rejections()
        seed = entry.make_one(index, marks, counted)
        made.append((seed, min(marks) if marks else None, counted.as_dict()))
    return made


@lru_cache(maxsize=8)
def _entry(pickled: bytes) -> Entry:
    """Return the entry, made once in each process."""
    return Entry(*pickle.loads(pickled))
