"""Counts of the seeds and of the rejected draws."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from aiida_mlip_autopipe.core.errors import PhysicsViolationError

# What to change if a rule rejects all draws of an entry.
REMEDIES = {
    'min_distance': 'increase the volume, or relax validation.min_distance_factor or validation.like_charges',
    'isolated_atom': 'reduce the volume, or relax validation.max_neighbour_factor',
    'contact': 'use a larger volume or contact_factor, or relax validation.min_contact_factor',
    'min_width': 'raise validation.max_atoms, lower validation.min_width_factor, or set validation.cell: as_given',
    'exclusion': 'lower ordering.exclusion_A, or change the occupancies',
    'volume_per_atom': 'set the volume, or validation.plausible_volume: false',
    'density': 'set the volume, or validation.plausible_volume: false',
    'formal_charge': 'set oxidation_states, or validation.neutral: false',
    'random_crystal': 'use other formula_units or spacegroups, or a larger volume',
}


_notes: ContextVar[list[str] | None] = ContextVar('notes', default=None)


@contextmanager
def notes_added_to(notes: list[str]) -> Iterator[None]:
    """Let `add_note` add to a list within the block."""
    token = _notes.set(notes)
    try:
        yield
    finally:
        _notes.reset(token)


def add_note(text: str) -> None:
    """Report a difference between a seed and the request of its entry, unless it is already reported."""
    notes = _notes.get()
    if notes is not None and text not in notes:
        notes.append(text)


@dataclass
class Rejections:
    """Counts of rejected draws by rule, with the worst example of each.

    Attributes
    ----------
    requested, made
        Numbers of requested seeds and of seeds that passed.
    duplicates
        Number of seeds that were discarded because an earlier seed is the same up to symmetry.
    skipped
        Number of seeds that were discarded after the last redraw, with ``on_failure: skip``.
    rules
        By rule, ``count`` and ``worst``: ``value``, ``limit`` and ``message`` of the draw farthest beyond its limit.
    notes
        Sentences about structures and properties that an entry leaves out.
    entries
        The same counts for each entry, by its index in the list.
    """

    requested: int = 0
    made: int = 0
    duplicates: int = 0
    skipped: int = 0
    rules: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    entries: dict[str, Rejections] = field(default_factory=dict)

    def of_entry(self, number: int | str) -> Rejections:
        """Return the counts of an entry."""
        return self.entries.setdefault(str(number), Rejections())

    def add_seed(self, number: int, counted: Rejections) -> None:
        """Add the counts of one seed of an entry."""
        report = counted.as_dict()
        self.merge(report)
        self.of_entry(number).merge(report)

    def why_empty(self, number: int, n_seeds: int) -> str | None:
        """Return why an entry has no seed: the rule that rejected the most draws, and what to change.

        Parameters
        ----------
        number
            Index of the entry.
        n_seeds
            Its number of seeds.

        Returns
        -------
        str or None
            None if the entry has a valid seed, or if fewer seeds than `n_seeds` are counted so far.
        """
        counts = self.of_entry(number)
        if counts.made or not counts.skipped or counts.requested < n_seeds:
            return None
        rule = counts.worst_rule
        return (
            f'generation[{number}]: no seed is valid (tried: {counts.requested}); {rule} rejected the most draws '
            f'({counts.rules[rule]["count"]}), for example: {counts.rules[rule]["worst"]["message"]}; '
            f'{REMEDIES.get(rule, "change the entry")}'
        )

    @property
    def n_rejected(self) -> int:
        """The number of rejected draws."""
        return sum(int(counts['count']) for counts in self.rules.values())

    @property
    def is_redrawn(self) -> bool:
        """Whether seeds were discarded after more than one draw each."""
        return self.n_rejected > self.skipped > 0

    @property
    def worst_rule(self) -> str:
        """The rule that rejected the most draws."""
        return max(self.rules, key=lambda rule: self.rules[rule]['count'])

    def add(self, violation: PhysicsViolationError) -> None:
        """Count one rejected draw."""
        worst = {'value': violation.value, 'limit': violation.limit, 'message': str(violation)}
        self._add(violation.rule, 1, worst)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON types."""
        return {
            'requested': self.requested,
            'made': self.made,
            'duplicates': self.duplicates,
            'skipped': self.skipped,
            'rules': self.rules,
            'notes': self.notes,
            'entries': {number: counts.as_dict() for number, counts in self.entries.items()},
        }

    def merge(self, report: dict[str, Any]) -> None:
        """Add the counts of another report. Of two equally bad examples, the earlier one is kept."""
        self.requested += report['requested']
        self.made += report['made']
        self.duplicates += report['duplicates']
        self.skipped += report['skipped']
        for rule, entry in report['rules'].items():
            self._add(rule, entry['count'], entry['worst'])
        # Reports of earlier versions have no notes and no entries.
        self.notes += [note for note in report.get('notes', ()) if note not in self.notes]
        for number, counts in report.get('entries', {}).items():
            self.of_entry(number).merge(counts)

    def _add(self, rule: str, count: int, worst: dict[str, Any]) -> None:
        known = self.rules.setdefault(rule, {'count': 0, 'worst': worst})
        known['count'] += count
        if _excess(worst) > _excess(known['worst']):
            known['worst'] = worst


def merge_reports(reports: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return one report for several slices of the same list of seeds."""
    total = Rejections()
    for report in reports:
        total.merge(report)
    return total.as_dict()


def find_empty_entry(report: dict[str, Any]) -> str | None:
    """Return why the first entry without a valid seed has none, or None if all entries have seeds."""
    total = Rejections()
    total.merge(report)
    reasons = (total.why_empty(int(number), counts.requested) for number, counts in total.entries.items())
    return next((reason for reason in reasons if reason), None)


def describe_losses(report: dict[str, Any], of: str = 'seeds') -> list[str]:
    """Return one sentence for each entry with fewer seeds than requested, and each note of an entry.

    Parameters
    ----------
    report
        The report of the seeds of a campaign, or of those that were checked.
    of
        Name of the counted items.
    """
    total = Rejections()
    total.merge(report)
    lines = []
    for number, counts in total.entries.items():
        duplicates = 'a duplicate' if counts.duplicates == 1 else 'duplicates'
        lost = [f'{counts.duplicates} discarded as {duplicates}'] if counts.duplicates else []
        if counts.skipped:
            lost.append(f'{counts.skipped} skipped; the rule {counts.worst_rule} rejected the most draws')
        if lost:
            lines.append(f'generation[{number}]: {counts.made} of {counts.requested} {of}; {", ".join(lost)}')
        lines += [f'generation[{number}]: {note}' for note in counts.notes]
    return lines


def _excess(example: dict[str, Any]) -> float:
    """Return how far an example is beyond its limit, relative to the limit unless that is zero."""
    difference = abs(float(example['value']) - float(example['limit']))
    return difference / abs(example['limit']) if example['limit'] else difference
