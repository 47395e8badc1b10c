"""Counts of the seeds and of the rejected draws."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from aiida_mlip_autopipe.core.errors import PhysicsViolationError


@dataclass
class Rejections:
    """Counts of rejected draws by rule, with the worst example of each.

    Attributes
    ----------
    requested, made
        Number of requested seeds, and number of seeds that were made.
    duplicates
        Number of seeds that were discarded because an earlier seed is the same structure up to symmetry.
    skipped
        Number of seeds that were discarded after the last redraw, with ``on_failure: skip``.
    rules
        By rule, ``count`` and ``worst``: ``value``, ``limit`` and ``message`` of the draw farthest beyond its limit.
    """

    requested: int = 0
    made: int = 0
    duplicates: int = 0
    skipped: int = 0
    rules: dict[str, dict[str, Any]] = field(default_factory=dict)

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
        }

    def merge(self, report: dict[str, Any]) -> None:
        """Add the counts of another report. Of two equally bad examples, the earlier one is kept."""
        self.requested += report['requested']
        self.made += report['made']
        self.duplicates += report['duplicates']
        self.skipped += report['skipped']
        for rule, entry in report['rules'].items():
            self._add(rule, entry['count'], entry['worst'])

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


def _excess(example: dict[str, Any]) -> float:
    """Return how far an example is beyond its limit, relative to the limit unless that is zero."""
    difference = abs(float(example['value']) - float(example['limit']))
    return difference / abs(example['limit']) if example['limit'] else difference
