"""What an extension of a campaign reuses, counted from the two configs and the seeds of the extended campaign."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from aiida import orm
from aiida.common import LinkType

from aiida_mlip_autopipe.config import CampaignConfig
from aiida_mlip_autopipe.exploration import AnyExploration
from aiida_mlip_autopipe.exploration.dynamics.schedule import Schedule
from aiida_mlip_autopipe.exploration.settings.job_settings import split_settings
from aiida_mlip_autopipe.exploration.settings.novelty import reference_of
from aiida_mlip_autopipe.generation.base import content_label
from aiida_mlip_autopipe.structures.seed import Place
from aiida_mlip_autopipe.workflows.legs.explorations import find_explorations


@dataclass(frozen=True)
class Reuse:
    """What an extension of a campaign reuses.

    The counts assume that codes, models and environments have not changed since the extended campaign. If they have,
    the submission reports it, and fewer explorations are reused.

    Attributes
    ----------
    n_seeds_kept, n_seeds_new, n_seeds_dropped
        Seeds of both campaigns, seeds that only the extension requests, and seeds that only the extended campaign has.
    n_repeated, n_continued, n_restarted
        Seeds of both campaigns whose finished exploration is reused completely, is continued, or starts again from the
        seed.
    n_unfinished
        Seeds of both campaigns whose exploration has not finished. It continues from its last leg if its settings are
        unchanged.
    n_steps_reused, n_steps
        Steps of the finished explorations that are reused, and steps of all explorations of the extension.
    reasons
        Why seeds or explorations cannot be reused.
    """

    n_seeds_kept: int
    n_seeds_new: int
    n_seeds_dropped: int
    n_repeated: int
    n_continued: int
    n_restarted: int
    n_unfinished: int
    n_steps_reused: int
    n_steps: int
    reasons: tuple[str, ...]


class _Fate(Enum):
    REPEATED = 'repeated'
    CONTINUED = 'continued'
    RESTARTED = 'restarted'
    UNFINISHED = 'unfinished'


def count_reuse(campaign: orm.WorkChainNode, old: CampaignConfig, new: CampaignConfig) -> Reuse:
    """Return what an extension reuses.

    Parameters
    ----------
    campaign
        The campaign that is extended.
    old, new
        Its config, and that of the extension.
    """
    changes_of_seeds, changes_of_jobs = tuple(_changes_of_seeds(old, new)), tuple(_changes_of_jobs(old, new))
    n_old, n_new = old.count_seeds(), new.count_seeds()
    kept = {} if changes_of_seeds else _match_entries(old, new)
    steps = [new.exploration_of(number).total_steps for number in range(len(n_new))]
    finished = {one.seed_id for one in find_explorations(campaign) if one.succeeded}
    fates: Counter[_Fate] = Counter()
    n_steps_reused = n_kept = 0
    seeds = _read_seeds(campaign)
    for before, after in kept.items():
        exploration, changed = old.exploration_of(before), new.exploration_of(after)
        for seed_id, place in seeds.get(before, [])[: n_new[after]]:
            n_kept += 1
            fate = _Fate.RESTARTED
            if not changes_of_jobs:
                fate = _compare(exploration.for_seed(place), changed.for_seed(place))
            if fate is not _Fate.RESTARTED and seed_id not in finished:
                fate = _Fate.UNFINISHED
            fates[fate] += 1
            if fate in (_Fate.REPEATED, _Fate.CONTINUED):
                n_steps_reused += exploration.total_steps
    return Reuse(
        n_seeds_kept=n_kept,
        n_seeds_new=sum(n_new) - sum(min(n_old[before], n_new[after]) for before, after in kept.items()),
        n_seeds_dropped=sum(map(len, seeds.values())) - n_kept,
        n_repeated=fates[_Fate.REPEATED],
        n_continued=fates[_Fate.CONTINUED],
        n_restarted=fates[_Fate.RESTARTED],
        n_unfinished=fates[_Fate.UNFINISHED],
        n_steps_reused=n_steps_reused,
        n_steps=sum(n * steps[number] for number, n in enumerate(n_new)),
        reasons=(*changes_of_seeds, *changes_of_jobs),
    )


def _changes_of_seeds(old: CampaignConfig, new: CampaignConfig) -> Iterator[str]:
    if old.random_seed != new.random_seed:
        yield 'random_seed has changed, so all seeds are new'
    elif old.cutoff_A != new.cutoff_A:
        yield (
            f'the cutoff of the calculator, which determines the size of the seeds, changes from {old.cutoff_A:g} to '
            f'{new.cutoff_A:g} Å, so seeds may change'
        )


def _changes_of_jobs(old: CampaignConfig, new: CampaignConfig) -> Iterator[str]:
    if old.calculators != new.calculators:
        yield 'the calculator has changed, so no exploration is reused'
    elif _codes(old) != _codes(new):
        yield 'the codes have changed, so no exploration is reused'
    elif _cpus(old) != _cpus(new):
        yield 'cpus_per_job, the number of threads, has changed, so no exploration is reused'
    if old.exploration.full_trajectory_interval != new.exploration.full_trajectory_interval:
        yield 'full_trajectory_interval has changed, so no exploration is reused'
    if reference_of(old.exploration.novelty) != reference_of(new.exploration.novelty):
        yield 'the reference dataset of exploration.novelty has changed, so no exploration is reused'


def _codes(config: CampaignConfig) -> tuple[str | None, ...]:
    return tuple(one.code for one in config.execution.codes) or (config.execution.code,)


def _cpus(config: CampaignConfig) -> tuple[int, ...]:
    execution = config.execution
    resources = [one.resources or execution.resources() for one in execution.codes] or [execution.resources()]
    return tuple(one.cpus_per_job for one in resources)


def _match_entries(old: CampaignConfig, new: CampaignConfig) -> dict[int, int]:
    """Return the index of each entry of the old config that the new one also has, and its index there.

    The seeds of two entries are equal if the entries are equal except for the number of seeds; see `generate_seeds`.
    """
    numbers = {label: number for number, label in enumerate(_labels(new))}
    return {number: numbers[label] for number, label in enumerate(_labels(old)) if label in numbers}


def _labels(config: CampaignConfig) -> list[tuple[str, int]]:
    """Return the label of the random streams of each entry, with the number of equal entries before it."""
    seen: Counter[str] = Counter()
    labels = []
    for entry in config.generation:
        label = content_label(entry)
        labels.append((label, seen[label]))
        seen[label] += 1
    return labels


def _read_seeds(campaign: orm.WorkChainNode) -> dict[int, Sequence[tuple[str, Place]]]:
    """Return the ids and places of the seeds of a campaign, in order, by the index of their entry."""
    query = orm.QueryBuilder().append(orm.WorkChainNode, filters={'id': campaign.pk}, tag='campaign')
    generated = {'attributes.process_label': 'generate_seeds'}
    query.append(orm.CalcFunctionNode, with_incoming='campaign', filters=generated, tag='generated')
    of_places = {'type': LinkType.CREATE.value, 'label': 'places'}
    query.append(orm.Dict, with_incoming='generated', edge_filters=of_places, project='attributes')
    found: dict[int, list[tuple[str, Place]]] = {}
    for places in query.all(flat=True):
        for seed_id, (*place, entry) in places.items():
            found.setdefault(entry, []).append((seed_id, Place(*place)))
    return {entry: sorted(seeds, key=lambda seed: (seed[1].round, seed[1].position)) for entry, seeds in found.items()}


def _compare(old: AnyExploration, new: AnyExploration) -> _Fate:
    """Return what becomes of the finished exploration of a seed with the settings ``old``."""
    if old.kind != new.kind:
        return _Fate.RESTARTED
    (before, n_before, _), (after, n_after, _) = split_settings(old), split_settings(new)
    phases_before, phases_after = before.pop('phases', None), after.pop('phases', None)
    if before != after:
        return _Fate.RESTARTED
    if n_before == n_after and phases_before == phases_after:
        return _Fate.REPEATED
    if not Schedule(new).continues(Schedule(old)):
        return _Fate.RESTARTED
    return _Fate.REPEATED if n_before == n_after else _Fate.CONTINUED
