"""Run a trainer's command, and stop it if the job must end."""

from __future__ import annotations

import ctypes
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from aiida_mlip_autopipe.jobs.interruptions import Interruptions

POLL_S = 0.5
# A trainer that ignores SIGTERM is killed after this time.
GRACE_S = 10.0
PR_SET_PDEATHSIG = 1


def run_trainer(
    command: Sequence[str], folder: Path, log: Path, interruptions: Interruptions, watch: Callable[[], None]
) -> int | None:
    """Run a command, and return its exit status; None if the job must end, in which case the command is stopped.

    Parameters
    ----------
    command
        The command.
    folder
        The folder in which it runs.
    log
        The file to which its output is appended.
    interruptions
        Reasons to end early.
    watch
        Called regularly while the command runs, and once afterwards.
    """
    with log.open('ab') as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # A signal to the group of this process must not reach the trainer while it writes a checkpoint.
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
        try:
            while _is_running(process):
                watch()
                if interruptions.check() is not None:
                    return None
            # A scheduler may have sent the same signal to the trainer.
            return None if process.returncode and interruptions.check() is not None else process.returncode
        finally:
            _stop(process)
            watch()


def _is_running(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(POLL_S)
    except subprocess.TimeoutExpired:
        return True
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _die_with_parent() -> None:
    """Let Linux kill the trainer if this process is killed, so that it does not write while another job continues."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def last_line(log: Path) -> str:
    """Return the last non-empty line of a log, which names the error if a trainer failed."""
    lines = log.read_text(errors='replace').splitlines() if log.is_file() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), 'it printed nothing')
