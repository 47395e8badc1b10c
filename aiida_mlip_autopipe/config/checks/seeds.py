"""A check of the seeds of a campaign, before it runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from aiida_mlip_autopipe.config.campaign import CampaignConfig
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.hashing import file_sha256
from aiida_mlip_autopipe.exploration.suitability import check_suitability
from aiida_mlip_autopipe.generation import (
    Fingerprints,
    Rejections,
    check_entry,
    describe_losses,
    time_limit,
)
from aiida_mlip_autopipe.structures.seed import Seed


@dataclass(frozen=True)
class SeedCheck:
    """The result of checking the entries.

    Attributes
    ----------
    seeds
        The first seed of each entry; None if the check generated none or discarded all of them.
    n_seeds
        The number of seeds of each entry; None if it takes too long to count them.
    n_parents
        The number of parents of the seeds of each entry; None if it takes too long to count them.
    parents
        The parents of the seeds that the check made, for each entry.
    warnings
        Sentences about discarded seeds, about what entries leave out, about settings that have no effect or do not suit
        the seeds, and about entries that were not checked completely.
    unchecked
        Indices of the entries that were not checked completely.
    """

    seeds: tuple[Seed | None, ...]
    n_seeds: tuple[int | None, ...]
    n_parents: tuple[int | None, ...]
    parents: tuple[tuple[str, ...], ...]
    warnings: tuple[str, ...]
    unchecked: tuple[int, ...] = ()


def check_seeds(config: CampaignConfig, *, time_s: float | None = None, explored: bool = True) -> SeedCheck:
    """Generate some seeds of each entry, so that impossible entries are refused before the campaign runs.

    The largest cutoff of the calculators of all codes determines the size of the seeds.

    Parameters
    ----------
    config
        The campaign.
    time_s
        Time in s that the check may take. Each entry may use an equal part of the remaining time; an entry that needs
        more is not checked completely. By default, all entries are checked.
    explored
        Whether the seeds will be explored. Those that cannot be explored are then refused.

    Raises
    ------
    AutopipeError
        If a seed cannot be generated or explored; the message contains the place of the entry in the config.
    """
    seeds: list[Seed | None] = []
    n_seeds: list[int | None] = [entry.n_seeds for entry in config.generation]
    n_parents: list[int | None] = [None] * len(config.generation)
    parents: list[dict[str, None]] = [{} for _ in config.generation]
    unchecked: list[int] = []
    rejections, fingerprints = Rejections(), Fingerprints()
    warnings: dict[str, None] = {}
    end = None if time_s is None else time.monotonic() + time_s
    for number, entry in enumerate(config.generation):
        now = time.monotonic()
        part_s = None if end is None else max(0.0, end - now) / (len(config.generation) - number)
        try:
            with time_limit(part_s, f'generation[{number}] was not checked completely'):
                seed = check_entry(
                    entry,
                    random_seed=config.random_seed,
                    cutoff_A=config.cutoff_A,
                    number=number,
                    rejections=rejections,
                    fingerprints=fingerprints,
                    inspect=_make_inspection(config, number, parents[number], warnings if explored else None),
                    counted=partial(_set_counts, n_seeds, n_parents, number),
                )
        except AutopipeError as error:
            if part_s is not None and error.code == Code.TIME_LIMIT and time.monotonic() >= now + part_s:
                unchecked.append(number)
                fingerprints.end_entry(is_compared=False)
                seeds.append(None)
                continue
            if error.code == Code.SEEDS_MISSING:
                raise  # its message names the entry
            raise AutopipeError(error.code, f'generation[{number}]: {error}') from error
        seeds.append(seed)
    incomplete = [
        f'generation[{number}]: not checked completely, because its seeds take a long time to make; `generate` and '
        '`run` check all entries before they start'
        for number in unchecked
    ]
    losses = describe_losses(rejections.as_dict(), of='checked seeds')
    return SeedCheck(
        tuple(seeds),
        tuple(n_seeds),
        tuple(n_parents),
        tuple(map(tuple, parents)),
        (*losses, *warnings, *incomplete),
        tuple(unchecked),
    )


def _set_counts(
    n_seeds: list[int | None], n_parents: list[int | None], number: int, found_seeds: int, found_parents: int
) -> None:
    n_seeds[number], n_parents[number] = found_seeds, found_parents


def _make_inspection(
    config: CampaignConfig, number: int, parents: dict[str, None], warnings: dict[str, None] | None
) -> Callable[[Seed], None]:
    """Return a function that adds the parent of a seed.

    With ``warnings``, it also refuses seeds that cannot be explored as their entry requests, and adds warnings.
    """
    exploration, files = config.exploration_of(number), getattr(config.generation[number], 'files', ())

    def inspect(seed: Seed) -> None:
        parents[seed.record['parent']] = None
        if warnings is None:
            return
        try:
            found = check_suitability(exploration, seed)
        except AutopipeError as error:
            name = next(
                (path.name for path in files if file_sha256(path) == seed.record.get('file_sha256')), 'the seed'
            )
            raise AutopipeError(error.code, f'{name} ({seed.atoms.symbols}): {error}') from error
        warnings.update(dict.fromkeys(f'generation[{number}]: {warning}' for warning in found))

    return inspect
