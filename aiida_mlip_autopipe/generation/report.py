"""What was rejected on the way to the seeds, and why."""

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
        Seeds asked for and seeds that passed.
    duplicates
        Seeds left out because an earlier one of the entry is the same up to symmetry.
    skipped
        Seeds left out after the last redraw, where the entry asks for that.
    rules
        Rule to ``count`` and ``worst``: ``value``, ``limit`` and ``message`` of the draw farthest beyond its limit.
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
        """Return the report, JSON only."""
        return {
            'requested': self.requested,
            'made': self.made,
            'duplicates': self.duplicates,
            'skipped': self.skipped,
            'rules': self.rules,
        }

    def merge(self, report: dict[str, Any]) -> None:
        """Add what another report counts; of two equally bad examples the one known before stays."""
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
    """Return one report of several slices of the same list of seeds."""
    total = Rejections()
    for report in reports:
        total.merge(report)
    return total.as_dict()


def _excess(example: dict[str, Any]) -> float:
    """Return how far beyond its limit an example is, relative where the limit is not zero."""
    difference = abs(float(example['value']) - float(example['limit']))
    return difference / abs(example['limit']) if example['limit'] else difference
