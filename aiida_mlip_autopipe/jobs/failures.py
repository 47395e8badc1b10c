"""Failures before the runner started, recognised by the messages of the shell, the container and the scheduler."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

# Restarting helps only after ERROR_CANCELLED; all other failures need a fix by the user first.
FAILURES = (
    (330, 'ERROR_IMAGE_MISSING', 'The container image cannot be opened: {reason}'),
    (331, 'ERROR_EXECUTABLE_MISSING', 'The program cannot be started: {reason}'),
    (332, 'ERROR_WRONG_ARCHITECTURE', 'The program or image is for another kind of processor: {reason}'),
    (333, 'ERROR_CONTAINER', 'The container cannot be started: {reason}'),
    (334, 'ERROR_DISK_FULL', 'The job cannot write to its folder: {reason}'),
    (335, 'ERROR_CANCELLED', 'The job was cancelled before its runner began: {reason}'),
    (
        336,
        'ERROR_DEVICE_OUT_OF_MEMORY',
        'The GPU ran out of memory; smaller seeds, a larger GPU or fewer jobs per GPU help: {reason}',
    ),
)

# The first that fits a line wins, so what is particular comes first. Apptainer's lines begin with FATAL, the shell's
# tell the line of the submission script.
PATTERNS = tuple(
    (re.compile(pattern, re.IGNORECASE), label)
    for label, pattern in (
        # The message of torch for CUDA, HIP or XPU; it does not concern the host's memory.
        (
            'ERROR_DEVICE_OUT_OF_MEMORY',
            r'\b(cuda|hip|xpu)\b.*out of memory|torch\.(cuda\.)?OutOfMemoryError|CUBLAS_STATUS_ALLOC_FAILED',
        ),
        ('ERROR_SCHEDULER_OUT_OF_MEMORY', 'oom.?kill|out of memory|exceeded.*memory limit'),
        ('ERROR_SCHEDULER_NODE_FAILURE', 'due to node failure'),
        ('ERROR_SCHEDULER_OUT_OF_WALLTIME', 'due to time limit'),
        ('ERROR_DISK_FULL', 'disk quota exceeded|no space left on device'),
        ('ERROR_WRONG_ARCHITECTURE', "exec format error|cannot execute binary file|image's architecture"),
        ('ERROR_IMAGE_MISSING', 'FATAL: .*(could not open image|failed to retrieve path|image driver mount failure)'),
        ('ERROR_EXECUTABLE_MISSING', 'FATAL: .*executable file not found|FATAL: +stat .*no such file'),
        ('ERROR_EXECUTABLE_MISSING', "No module named '?aiida_mlip_autopipe"),
        ('ERROR_CONTAINER', 'FATAL: '),
        # The accounting's state, all that there is of a job that still waited, and what Slurm writes for one that ran.
        ('ERROR_CANCELLED', r'^(cancelled|preempted)\b|\*\*\* (job|step) .* (cancelled|preempted) at '),
        (
            'ERROR_EXECUTABLE_MISSING',
            r': line \d+: .*(command not found|no such file or directory|permission denied|not a directory)',
        ),
    )
)


@dataclass(frozen=True)
class Failure:
    """A failure with the label of its exit code and the line that tells it."""

    label: str
    reason: str


def accounting_state(details: dict[str, Any] | None) -> str:
    """Return the state that Slurm's accounting tells of a job, as ``CANCELLED by 0``; empty where there is none.

    Parameters
    ----------
    details
        What AiiDA keeps as a job's detailed information: a table with ``|`` between its columns.
    """
    lines = str((details or {}).get('stdout', '')).splitlines()
    if len(lines) < 2:
        return ''
    return dict(zip(lines[0].split('|'), lines[1].split('|'), strict=False)).get('State', '')


def find_failure(*texts: str | None) -> Failure | None:
    """Return the failure that some output tells of; None where nothing is known.

    Parameters
    ----------
    texts
        What scheduler and job wrote; None where there is nothing.
    """
    lines = [line.strip() for text in texts if text for line in text.splitlines()]
    for pattern, label in PATTERNS:
        for line in lines:
            if pattern.search(line):
                return Failure(label, line)
    return None
