"""Failures outside the runner, recognised by messages of the shell, the container and the scheduler."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

# A restart helps only after ERROR_CANCELLED. The user must first fix the cause of any other failure.
FAILURES = (
    (330, 'ERROR_IMAGE_MISSING', 'The container image cannot be opened: {reason}'),
    (331, 'ERROR_EXECUTABLE_MISSING', 'The program cannot be started: {reason}'),
    (332, 'ERROR_WRONG_ARCHITECTURE', 'The program or image was built for another processor architecture: {reason}'),
    (333, 'ERROR_CONTAINER', 'The container cannot be started: {reason}'),
    (334, 'ERROR_DISK_FULL', 'The job cannot write to its folder: {reason}'),
    (335, 'ERROR_CANCELLED', 'The job was cancelled before its program started: {reason}'),
    (
        336,
        'ERROR_DEVICE_OUT_OF_MEMORY',
        'The GPU ran out of memory; use smaller seeds, a larger GPU or fewer jobs per GPU: {reason}',
    ),
)

# The first pattern that matches any line is used, so specific patterns come first. Lines of Apptainer start with
# FATAL, and lines of the shell contain the line number in the submission script.
PATTERNS = tuple(
    (re.compile(pattern, re.IGNORECASE), label)
    for label, pattern in (
        # Messages of torch for CUDA, HIP or XPU. They do not refer to the memory of the host.
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
        # For a pending job, the only output is its state in Slurm's accounting. For a running job, Slurm prints a
        # message.
        ('ERROR_CANCELLED', r'^(cancelled|preempted)\b|\*\*\* (job|step) .* (cancelled|preempted) at '),
        (
            'ERROR_EXECUTABLE_MISSING',
            r': line \d+: .*(command not found|no such file or directory|permission denied|not a directory)',
        ),
    )
)


@dataclass(frozen=True)
class Failure:
    """A failure: the label of its exit code, and the line that reports it."""

    label: str
    reason: str


def accounting_state(details: dict[str, Any] | None) -> str:
    """Return the state of a job in Slurm's accounting, such as ``CANCELLED by 0``; empty if there is none.

    Parameters
    ----------
    details
        The detailed information that AiiDA stores about a job: a table with the column separator ``|``.
    """
    lines = str((details or {}).get('stdout', '')).splitlines()
    if len(lines) < 2:
        return ''
    return dict(zip(lines[0].split('|'), lines[1].split('|'), strict=False)).get('State', '')


def find_failure(*texts: str | None) -> Failure | None:
    """Return the failure that the output reports; None if none is recognised.

    Parameters
    ----------
    texts
        Output of the scheduler and the job; None if there is none.
    """
    lines = [line.strip() for text in texts if text for line in text.splitlines()]
    for pattern, label in PATTERNS:
        for line in lines:
            if pattern.search(line):
                return Failure(label, line)
    return None
