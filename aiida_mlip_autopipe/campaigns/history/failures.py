"""The failures of a campaign: what failed, why, and what to do. Similar failures form one group."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from aiida_mlip_autopipe.campaigns.history.events import crash_of
from aiida_mlip_autopipe.campaigns.history.exit_statuses import explain_ending
from aiida_mlip_autopipe.campaigns.history.logs import LogExcerpt, read_logs
from aiida_mlip_autopipe.campaigns.history.processes import EXPLORATION_CLASS, EXPLORING, ProcessRecord

MAX_EXAMPLES = 3
"""Maximum number of seeds and of processes that a group names."""
WITHOUT_REASON = {'ERROR_UNHANDLED_FAILURE', 'ERROR_SUB_PROCESS_EXCEPTED', 'ERROR_SUB_PROCESS_KILLED'}
"""The exit codes of explorations that only say that the last job failed."""


@dataclass(frozen=True)
class FailureGroup:
    """Processes that failed for the same reason.

    Attributes
    ----------
    process, stage
        The class or function of the processes, and the stage to which they belong.
    n_failed
        Number of failures.
    pks, seeds
        The first of the processes, and their seeds if they belong to explorations.
    state, exit_status, exit_label
        How they ended: the state in AiiDA and the exit code.
    rule, step
        The guard that stopped the first one and the step at which it did; None without a guard.
    message
        The message of the first one. For a guard, it contains the value and the limit.
    meaning, remedy
        What the failure means and what to do; None for processes of other packages.
    log
        The last lines of what the first one wrote.
    """

    process: str
    stage: str
    n_failed: int
    pks: tuple[int, ...]
    seeds: tuple[str, ...]
    state: str
    exit_status: int | None
    exit_label: str | None
    rule: str | None
    step: int | None
    message: str
    meaning: str | None
    remedy: str | None
    log: tuple[LogExcerpt, ...]


@dataclass(frozen=True)
class _Failure:
    """A process that failed, and the one that determines the exit code: itself, or the exploration it belongs to."""

    process: ProcessRecord
    judged: ProcessRecord
    crash: dict[str, Any] | None

    @property
    def key(self) -> tuple[Any, ...]:
        """What failures of the same group have in common."""
        process, judged = self.process, self.judged
        return (
            process.process,
            process.state,
            process.exit_status,
            judged.process,
            judged.state,
            judged.exit_status,
            self.crash and self.crash['rule'],
        )


def find_failures(
    processes: Iterable[ProcessRecord],
    retried: Iterable[ProcessRecord],
    results: Mapping[int, Mapping[str, Any]],
    seed_ids: Mapping[int, str],
) -> list[FailureGroup]:
    """Return the failures of a campaign, the largest groups first.

    Parameters
    ----------
    processes
        All processes of the campaign.
    retried
        Those that were repeated or continued by another one, which do not count as failures.
    results
        The results of the jobs, by pk.
    seed_ids
        The seeds of the explorations, by pk.
    """
    groups: dict[tuple[Any, ...], list[_Failure]] = {}
    for one in _failures(list(processes), {one.pk for one in retried}, results):
        groups.setdefault(one.key, []).append(one)
    return [_describe(group, seed_ids) for group in sorted(groups.values(), key=len, reverse=True)]


def _failures(
    processes: list[ProcessRecord], retried: set[int], results: Mapping[int, Mapping[str, Any]]
) -> Iterable[_Failure]:
    """Yield the failed processes that called no failed process. Their callers failed because of them."""
    explorations = {one.pk: one for one in processes if one.process == EXPLORATION_CLASS}
    failed = [one for one in processes if one.failed and one.pk not in retried]
    to_blame = {one.caller: one for one in failed if not _is_extra(one)}
    for one in failed:
        caller = explorations.get(one.caller)
        if one.pk in to_blame or (caller is not None and not caller.failed and not _is_extra(one)):
            continue
        judged = one if caller is None or _is_extra(one) else caller
        result = results.get(one.pk)
        yield _Failure(one, judged, crash_of(result) if result and one.process in EXPLORING else None)


def _is_extra(process: ProcessRecord) -> bool:
    """Return whether an exploration succeeds even if this job of it fails."""
    return process.process in ('EvaluationCalculation', 'StashCalculation')


def _describe(group: list[_Failure], seed_ids: Mapping[int, str]) -> FailureGroup:
    first = group[0]
    process, judged = first.process, first.judged
    if judged.exit_label in WITHOUT_REASON or judged.exit_label is None:
        judged = process
    explained = explain_ending(judged.process, judged.state, judged.exit_status)
    examples = group[:MAX_EXAMPLES]
    seeds = (seed_ids.get(one.process.caller) or seed_ids.get(one.process.pk) for one in examples)
    crash = first.crash or {}
    return FailureGroup(
        process=process.process,
        stage=process.stage,
        n_failed=len(group),
        pks=tuple(one.process.pk for one in examples),
        seeds=tuple(dict.fromkeys(seed for seed in seeds if seed)),
        state=judged.state,
        exit_status=judged.exit_status,
        exit_label=judged.exit_label,
        rule=crash.get('rule'),
        step=crash.get('step'),
        message=process.reason,
        meaning=explained.meaning if explained else None,
        remedy=explained.remedy.replace('PK', str(process.pk)) if explained else None,
        log=read_logs(process.pk),
    )
