"""Make the seeds of a campaign in several processes. They are identical to those of one process, in the same order."""

from __future__ import annotations

import pickle  # nosec B403: this process makes the bytes that its workers read
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any

from aiida_mlip_autopipe.generation.base import GeneratorSettings
from aiida_mlip_autopipe.generation.entry import Entry
from aiida_mlip_autopipe.generation.generate import iterate_entries, iterate_seeds
from aiida_mlip_autopipe.generation.processes import parallel_map, process_pool
from aiida_mlip_autopipe.generation.report import Rejections
from aiida_mlip_autopipe.structures.duplicates import Fingerprints
from aiida_mlip_autopipe.structures.seed import Seed

SEEDS_PER_CALL = 16

# The seed or None, its fingerprint if seeds can repeat, and the report for this seed.
_Made = tuple[Seed | None, str | None, dict[str, Any]]


def iterate_seeds_in_processes(
    entries: Sequence[GeneratorSettings], *, random_seed: int, cutoff_A: float, processes: int, rejections: Rejections
) -> Iterator[Seed]:
    """Make the seeds of `iterate_seeds` in several processes, and yield them in order.

    The seeds (bit for bit) and the report do not depend on ``processes``. Only a few seeds per process are in
    memory at a time. No process is started for work that takes less than a second.

    Parameters
    ----------
    entries, random_seed, cutoff_A
        As for `iterate_seeds`.
    processes
        Maximum number of processes.
    rejections
        The counts, which this call updates.
    """
    if processes == 1:
        yield from iterate_seeds(entries, random_seed=random_seed, cutoff_A=cutoff_A, rejections=rejections)
        return
    listed = iterate_entries(entries, random_seed=random_seed, cutoff_A=cutoff_A)
    fingerprints = Fingerprints()
    with process_pool(processes):
        for is_parallel, batch in groupby(listed, key=lambda entry: entry.generator.is_parallel):
            if is_parallel:
                for entry in batch:
                    yield from entry.make(0, entry.n_seeds, rejections, fingerprints)
            else:
                yield from _make_in_pool(list(batch), processes, rejections, fingerprints)


def _make_in_pool(
    entries: list[Entry], processes: int, rejections: Rejections, fingerprints: Fingerprints
) -> Iterator[Seed]:
    def calls() -> Iterator[tuple[int, range]]:
        for number, entry in enumerate(entries):
            step = max(1, min(SEEDS_PER_CALL, entry.n_seeds // (4 * processes)))
            for first in range(0, entry.n_seeds, step):
                yield number, range(first, min(first + step, entry.n_seeds))

    for entry in entries:
        entry.add_notes(rejections)
    pickled = [pickle.dumps(entry.arguments) for entry in entries]
    current = 0
    results = parallel_map(
        _make_independently, ((pickled[number], indices) for number, indices in calls()), queued=processes
    )
    for (number, indices), made in zip(calls(), results, strict=True):
        if number != current:
            entries[current].end(rejections, fingerprints)
            current = number
        for index, (seed, digest, report) in zip(indices, made, strict=True):
            if digest in fingerprints.own or digest in fingerprints.known:
                # The process knew no other fingerprints and returned the first draw. Redraw it as a single process
                # would.
                counted = Rejections()
                entries[number].begin_at(index)
                seed = entries[number].make_one(index, fingerprints.own, counted, fingerprints.known)
                report = counted.as_dict()
            elif digest is not None:
                fingerprints.own.add(digest)
            counted = Rejections()
            counted.merge(report)
            rejections.add_seed(entries[number].number, counted)
            entries[number].end_if_hopeless(rejections, counted)
            if seed is not None:
                yield seed
    entries[current].end(rejections, fingerprints)


def _make_independently(pickled: bytes, indices: range) -> list[_Made]:
    """Make seeds of an entry, each independently of the others."""
    entry = _entry(pickled)
    entry.begin_at(indices.start)
    made: list[_Made] = []
    for index in indices:
        digests: set[str] | None = set() if entry.may_repeat else None
        counted = Rejections()
        seed = entry.make_one(index, digests, counted)
        made.append((seed, min(digests) if digests else None, counted.as_dict()))
    return made


@lru_cache(maxsize=8)
def _entry(pickled: bytes) -> Entry:
    """Return the entry. Each process makes it once."""
    return Entry(*pickle.loads(pickled))  # nosec B301: see the import
