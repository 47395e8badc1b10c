"""The events that jobs reported in their results: crashes, and everything else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Events:
    """The events of one rule in the jobs of a campaign, except the crashes.

    Attributes
    ----------
    rule
        The rule that reported them, such as ``novelty``.
    n_events
        Number of events.
    example
        The message of the first one.
    """

    rule: str
    n_events: int
    example: str


def crash_of(result: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the event with which a guard stopped a job: ``step``, ``rule`` and ``message``; None if none did.

    Parameters
    ----------
    result
        The result of the job.
    """
    if result['outcome'] not in ('unstable', 'no_frame') or not result['events']:
        return None
    event: dict[str, Any] = result['events'][-1]
    return event


def count_crashes(results: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Return how many jobs each guard stopped, including jobs of explorations that were resumed."""
    return dict(Counter(event['rule'] for result in results if (event := crash_of(result)) is not None))


def collect_events(results: Iterable[Mapping[str, Any]]) -> tuple[Events, ...]:
    """Return the events of the jobs by rule, except those that `count_crashes` counts."""
    messages: dict[str, list[str]] = {}
    for result in results:
        for event in (result['events'] or [])[: None if crash_of(result) is None else -1]:
            messages.setdefault(event['rule'], []).append(event['message'])
    return tuple(Events(rule, len(found), found[0]) for rule, found in messages.items())
