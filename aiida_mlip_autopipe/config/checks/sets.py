"""Warnings about the held-out sets of a campaign, before it runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from aiida_mlip_autopipe.config.campaign import CampaignConfig
from aiida_mlip_autopipe.config.checks.seeds import SeedCheck
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.wording import counted
from aiida_mlip_autopipe.sampling.pool.reference_dataset import read_sets_of_groups
from aiida_mlip_autopipe.structures.rows.provenance import searchable
from aiida_mlip_autopipe.structures.rows.splits import (
    SPLITS,
    Category,
    Split,
    absence_warnings,
    assign_groups,
    size_warnings,
)

REMEDY = 'add seeds of other parents, or request another fraction'
# Maximum number of groups in a message.
MAX_NAMED = 5


class _Groups(NamedTuple):
    """The groups of the seeds: the expected number of frames, in total and in each category."""

    sizes: Counter[str]
    categories: dict[str, Counter[Category]]


def set_warnings(
    config: CampaignConfig, checked: SeedCheck, known: Mapping[str, Collection[Split]] | None = None
) -> tuple[str, ...]:
    """Return sentences about requested sets that the groups of the seeds, or the reference dataset, do not allow.

    Each seed counts as the maximum number of frames of its exploration. Groups that are joined because they share a
    structure, and discarded seeds and frames, are not known before the campaign runs.

    Parameters
    ----------
    config
        The campaign.
    checked
        The result of the check of its seeds. Without the number of seeds of all entries, there are no warnings.
    known
        The sets of each group of the reference dataset; by default, those of its file. Without it, the groups of the
        dataset of an earlier campaign are unknown.

    Raises
    ------
    AutopipeError
        If the file of the reference dataset is unreadable, or contains an unknown set.
    """
    sampling = config.sampling
    groups = _groups(config, checked)
    if known is None:
        known = _sets_in_file(sampling.reference_dataset)
    ambiguous = [name for name in groups.sizes if len(known.get(name, ())) > 1]
    warnings = [f'sampling: {_describe_ambiguous(ambiguous)}'] if ambiguous else []
    for name in ambiguous:
        del groups.sizes[name]
    fixed = {name: next(iter(sets)) for name, sets in known.items() if len(sets) == 1}
    return (*warnings, *(f'sampling: {warning}' for warning in _size_warnings(config, checked, groups, fixed)))


def _sets_in_file(reference: object) -> dict[str, set[Split]]:
    if not isinstance(reference, Path):
        return {}
    try:
        return read_sets_of_groups(reference)
    except AutopipeError as error:
        raise AutopipeError(error.code, f'sampling.reference_dataset: {error}') from error


def _describe_ambiguous(groups: Sequence[str]) -> str:
    named = ', '.join(groups[:MAX_NAMED]) + (', …' if len(groups) > MAX_NAMED else '')
    return (
        f'in several sets of the reference dataset: {counted(len(groups), "group")} ({named}); their frames '
        'will not be used, so split the reference dataset again'
    )


def _size_warnings(
    config: CampaignConfig, checked: SeedCheck, groups: _Groups, fixed: Mapping[str, Split]
) -> list[str]:
    sampling = config.sampling
    fractions: dict[Split, float] = {'valid': sampling.valid_fraction, 'test': sampling.test_fraction}
    fractions = {split: fraction for split, fraction in fractions.items() if fraction}
    if not fractions or None in checked.n_seeds:
        return []
    held = {('kind', kind) for kind in sampling.held_out_kinds} | {('label', one) for one in sampling.held_out_labels}
    is_held = {name: name not in fixed and bool(held & groups.categories[name].keys()) for name in groups.sizes}
    sets: dict[str, Split] = dict.fromkeys((name for name in groups.sizes if is_held[name]), 'test')
    sets |= assign_groups(
        {name: size for name, size in groups.sizes.items() if not is_held[name]},
        valid_fraction=sampling.valid_fraction,
        test_fraction=0.0 if sampling.holds_out_entries else sampling.test_fraction,
        random_seed=config.random_seed,
        categories=groups.categories,
        fixed=fixed,
    )
    n_found = {split: sum(groups.sizes[name] for name, found in sets.items() if found == split) for split in SPLITS}
    warnings = []
    for split, fraction in fractions.items():
        n = round(fraction * sampling.n_structures)
        if n_found[split] < n:
            warnings.append(
                f'the {split} set will have at most {n_found[split]} of {counted(n, "requested structure")}, because '
                f'its groups have no more frames; {REMEDY}'
            )
    total = sum(groups.sizes.values())
    by_size = {
        split: fraction * total
        for split, fraction in fractions.items()
        if n_found[split] and not (split == 'test' and sampling.holds_out_entries)
    }
    warnings += size_warnings(by_size, n_found, of='expected frames', remedy=REMEDY)
    warnings += absence_warnings(
        _contents(groups, sets), expected={'kind', 'label'} if sampling.holds_out_entries else ()
    )
    return warnings


def _groups(config: CampaignConfig, checked: SeedCheck) -> _Groups:
    found = _Groups(Counter(), {})
    for number, (entry, n_seeds, n_parents) in enumerate(
        zip(config.generation, checked.n_seeds, checked.n_parents, strict=True)
    ):
        if entry.kind in config.sampling.always_selected_kinds or not n_seeds or not n_parents:
            continue
        names = [searchable(parent) for parent in checked.parents[number]]
        if len(names) != n_parents:
            names = [f'generation[{number}], parent {index}' for index in range(n_parents)]
        n_frames = config.exploration_of(number).n_frames
        for index, name in enumerate(names):
            # The parents are used in turn.
            size = n_frames * (n_seeds // n_parents + (index < n_seeds % n_parents))
            found.sizes[name] += size
            counts = found.categories.setdefault(name, Counter())
            counts[('kind', entry.kind)] += size
            if entry.label:
                counts[('label', entry.label)] += size
    return found


def _contents(groups: _Groups, sets: Mapping[str, Split]) -> dict[str, dict[str, set[str]]]:
    """Return the kinds and labels in each set."""
    found: dict[str, dict[str, set[str]]] = {split: {'kind': set(), 'label': set()} for split in SPLITS}
    for group, split in sets.items():
        for name, value in groups.categories[group]:
            found[split][name].add(value)
    return found
