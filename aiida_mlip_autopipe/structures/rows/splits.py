"""Divide groups of structures among a training, a validation and a test set. No group is in two sets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np

from aiida_mlip_autopipe.core.randomness import derive_random_seed

Split = Literal['train', 'valid', 'test']
Role = Literal['calibration', 'test']
"""The purpose of a row whose frame was drawn at random in a campaign with rounds."""
SPLITS: tuple[Split, ...] = get_args(Split)
TRAINING_KINDS = ('atom', 'dimer')
"""Kinds of seeds that are used only for training. Their few atoms say nothing about the error for condensed matter."""
SIZE_TOLERANCE = 0.25
"""Largest difference between the size of a set and the requested size, relative to the latter, without a warning."""

MAX_TEMPERATURES = 8
"""Up to this number of different temperatures are counted individually; more are counted in intervals."""

UNASSIGNED = -1
# Value of a property that a structure does not have.
NO_VALUE = ''

Category = tuple[str, str]
"""A property of structures and its value, such as ``('kind', 'alloy')``."""


def assign_groups(
    sizes: Mapping[str, int],
    *,
    valid_fraction: float,
    test_fraction: float,
    random_seed: int,
    categories: Mapping[str, Mapping[Category, int]] | None = None,
    fixed: Mapping[str, Split] | None = None,
) -> dict[str, Split]:
    """Draw groups for validation and for testing at random. The others are used for training.

    The test set is filled first, then the validation set. A set accepts only groups that do not make it larger than
    requested, and finally the smallest of the other groups if that reduces the difference. Its size then differs from
    the requested size by at most half of the size of this smallest group, whether it was added or not. This holds
    unless a set has too few groups to choose from: a set whose fraction is above zero gets at least one group, the
    smallest if all are too large, as long as one is left for each later set and for training.

    Each set gets about the same fraction of each category as of all structures: the next group is one whose categories
    are furthest below their fractions, by Webster's method of apportionment. Values with so few groups that none is
    expected in the set are counted together. A group stays in the training set if it is the last one there of a
    kind, or of a label or composition with several groups. If this leaves no group for a set, the set gets other
    groups.

    Within equal categories, the order of the groups depends only on their names and the random seed. Therefore, the
    order of ``sizes`` has no effect, and adding a group moves hardly any others if the groups have equal sizes.

    Parameters
    ----------
    sizes
        Number of structures in each group.
    valid_fraction, test_fraction
        Fractions of all structures.
    random_seed
        The random seed of the campaign.
    categories
        Number of structures of each group in each category. Each value of ``kind`` is kept in the training set.
    fixed
        Groups whose set is known. Those that are not in ``sizes`` are ignored.
    """
    drawing = _Drawing(sizes, categories or {}, fixed or {}, random_seed)
    fractions: dict[Split, float] = {'test': test_fraction, 'valid': valid_fraction}
    fractions = {split: fraction for split, fraction in fractions.items() if fraction > 0}
    for number, (split, fraction) in enumerate(fractions.items()):
        drawing.fill(split, fraction, n_reserved=1 + sum(map(drawing.is_empty, list(fractions)[number + 1 :])))
    return drawing.sets()


class _Drawing:
    """The groups in random order, and the set of each group that is assigned so far."""

    def __init__(
        self,
        sizes: Mapping[str, int],
        categories: Mapping[str, Mapping[Category, int]],
        fixed: Mapping[str, Split],
        random_seed: int,
    ):
        self._names = sorted(sizes, key=lambda name: (derive_random_seed(random_seed, 'split', name), name))
        self._sizes = np.array([sizes[name] for name in self._names], dtype=np.int64)
        # Position of the set of each group in SPLITS.
        self._sets = np.array(
            [SPLITS.index(fixed[name]) if name in fixed else UNASSIGNED for name in self._names], dtype=np.int8
        )
        properties = sorted({category[0] for counts in categories.values() for category in counts})
        # One entry for each category of each group.
        entries = [
            (group, category, number)
            for group, name in enumerate(self._names)
            for category, number in sorted(_complete(categories.get(name, {}), properties, sizes[name]).items())
        ]
        self._known = sorted({category for _, category, _ in entries})
        place = {category: number for number, category in enumerate(self._known)}
        self._groups = np.array([group for group, _, _ in entries], dtype=np.int64)
        self._categories = np.array([place[category] for _, category, _ in entries], dtype=np.int64)
        self._numbers = np.array([number for _, _, number in entries], dtype=float)
        self._n_groups = self._count_groups(np.ones(len(self._names), dtype=bool))
        # Whether one group of the category must stay in the training set.
        self._is_kept = np.array([value != NO_VALUE for _, value in self._known], dtype=bool)
        self._is_kept &= np.array([name == 'kind' for name, _ in self._known], dtype=bool) | (self._n_groups > 1)

    def sets(self) -> dict[str, Split]:
        """Return the set of each group."""
        return {name: SPLITS[max(int(found), 0)] for name, found in zip(self._names, self._sets, strict=True)}

    def is_empty(self, split: Split) -> bool:
        """Return whether the set has no group."""
        return not self._members(split).any()

    def fill(self, split: Split, fraction: float, n_reserved: int) -> None:
        """Assign groups to a set, and leave at least ``n_reserved`` groups unassigned."""
        target = fraction * float(self._sizes.sum())
        if self.is_empty(split):
            n_reserved = max(1, min(n_reserved, int((self._sets == UNASSIGNED).sum()) - 1))
        rank = self._ranking(fraction)
        for keep_last in (True, False):
            while True:
                left = target - float(self._sizes[self._members(split)].sum())
                usable = self._usable(n_reserved, keep_last)
                fitting = usable & (self._sizes <= left)
                if not fitting.any():
                    break
                scores = rank(self._members(split))
                self._sets[int(np.where(fitting, scores, np.inf).argmin())] = SPLITS.index(split)
            if usable.any():
                smallest = int(np.where(usable, self._sizes, self._sizes.max() + 1).argmin())
                if self.is_empty(split) or self._sizes[smallest] <= 2 * left:
                    self._sets[smallest] = SPLITS.index(split)
            if not self.is_empty(split):
                return

    def _members(self, split: Split) -> np.ndarray:
        members: np.ndarray = self._sets == SPLITS.index(split)
        return members

    def _usable(self, n_reserved: int, keep_last: bool) -> np.ndarray:
        """Return which groups may be assigned; with ``keep_last``, only those that training does not need."""
        usable: np.ndarray = self._sets == UNASSIGNED
        if usable.sum() <= n_reserved:
            return np.zeros(len(usable), dtype=bool)
        if keep_last:
            is_last = self._is_kept & (self._count_groups(self._sets <= SPLITS.index('train')) < 2)
            usable &= np.bincount(self._groups, is_last[self._categories], len(usable)) == 0
        return usable

    def _count_groups(self, members: np.ndarray) -> np.ndarray:
        """Return how many of the member groups each category has."""
        return np.bincount(self._categories[members[self._groups]], minlength=len(self._known))

    def _ranking(self, fraction: float) -> Callable[[np.ndarray], np.ndarray]:
        """Return a function of the members of a set. It gives each group a score; the lowest score is next."""
        names = [one if n * fraction >= 1 else one[:1] for one, n in zip(self._known, self._n_groups, strict=True)]
        place = {name: number for number, name in enumerate(dict.fromkeys(names))}
        pooled = np.array([place[name] for name in names], dtype=np.int64)[self._categories]
        totals = np.bincount(pooled, self._numbers, len(place))
        halves = totals / np.maximum(np.bincount(pooled, minlength=len(place)), 1) / 2

        def rank(members: np.ndarray) -> np.ndarray:
            filled = np.bincount(pooled, self._numbers * members[self._groups], len(place))
            quotients = (filled + halves) / (fraction * totals)
            scores = np.bincount(
                self._groups, self._numbers / self._sizes[self._groups] * quotients[pooled], len(self._sizes)
            )
            # Equal scores must not differ by rounding.
            return np.round(scores, 9)

        return rank


def _complete(counts: Mapping[Category, int], properties: Sequence[str], size: int) -> dict[Category, int]:
    """Return the counts of a group, and how many of its structures have no value of each property.

    Without the latter, groups without a value would have fewer terms in the ranking, and be drawn more often.
    """
    known: Counter[str] = Counter()
    for (name, _), number in counts.items():
        known[name] += number
    missing = {(name, NO_VALUE): size - known[name] for name in properties if known[name] < size}
    return {**counts, **missing}


def describe_sets(
    splits: Sequence[Split | None], properties: Mapping[str, Sequence[Any]], temperatures: Sequence[float | None]
) -> dict[str, dict[str, Any]]:
    """Count the structures of each set by their properties.

    Parameters
    ----------
    splits
        The set of each structure; structures without a set are not counted.
    properties
        The value of each structure, by the name of the property, such as ``kind``; None if it has no value.
    temperatures
        The temperature of each structure in K; None or NaN if it has none.

    Returns
    -------
    dict
        For each set, ``n`` and the number of structures by value, for each property and for ``temperature_K``. If there
        are more than `MAX_TEMPERATURES` temperatures, they are counted in intervals such as ``200–400``.
    """
    columns = {**properties, 'temperature_K': _temperature_classes(temperatures)}
    return {
        split: {
            'n': sum(found == split for found in splits),
            **{
                name: _count(value for value, found in zip(values, splits, strict=True) if found == split)
                for name, values in columns.items()
            },
        }
        for split in SPLITS
    }


def _count(values: Iterable[Any]) -> dict[str, int]:
    counts = Counter(str(value) for value in values if value is not None)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _temperature_classes(temperatures: Sequence[float | None]) -> list[str | None]:
    known = [None if one is None or not np.isfinite(one) else float(one) for one in temperatures]
    distinct = {one for one in known if one is not None}
    if len(distinct) <= MAX_TEMPERATURES:
        return [None if one is None else f'{one:g}' for one in known]
    width = next(
        10**power * step for power in range(12) for step in (1, 2, 5)
        if max(distinct) // (10**power * step) - min(distinct) // (10**power * step) < MAX_TEMPERATURES
    )  # fmt: skip
    return [None if one is None else f'{one // width * width:g}–{(one // width + 1) * width:g}' for one in known]


def size_warnings(
    n_requested: Mapping[Split, float], n_found: Mapping[Split, int], *, of: str, remedy: str
) -> list[str]:
    """Return a sentence for each set whose size differs from the requested one by more than `SIZE_TOLERANCE`.

    A difference below one structure is accepted.

    Parameters
    ----------
    n_requested, n_found
        Number of structures in each held-out set.
    of
        What is counted, such as ``rows``.
    remedy
        What to do, as a clause.
    """
    return [
        f'the number of {of} in the {split} set is {n_found[split]} instead of {n:.0f}, because whole groups are '
        f'assigned to a set; {remedy}'
        for split, n in n_requested.items()
        if abs(n_found[split] - n) > max(SIZE_TOLERANCE * n, 1)
    ]


def absence_warnings(contents: Mapping[str, Mapping[str, Any]], *, expected: Collection[str] = ()) -> list[str]:
    """Return a sentence for each property with values that are missing from the training set, but occur in another set.

    Parameters
    ----------
    contents
        The result of `describe_sets`.
    expected
        Properties whose values are held out on purpose.
    """
    warnings = []
    for name in ('kind', 'label'):
        if name in expected:
            continue
        held_out = {value for split in ('valid', 'test') for value in contents[split].get(name, ())}
        if missing := sorted(held_out - set(contents['train'].get(name, ()))):
            noun, it, this = (name, 'it', 'this') if len(missing) == 1 else (f'{name}s', 'them', 'these')
            warnings.append(
                f'the held-out sets contain the {noun} {" and ".join(missing)}, but the training set does not, because '
                f'too few groups have {it}; add seeds of other parents with {this} {noun}'
            )
    return warnings
