"""The attempts of a calculator to converge a structure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Attempt:
    """One attempt to compute a structure.

    Attributes
    ----------
    change
        What differs from the settings, such as ``mixing``, ``bands`` or ``smearing``; empty for the first attempt. A
        change affects only the path to the result and never the level of theory.
    converged
        Whether it converged.
    n_scf_steps
        Number of steps of the SCF cycle; None if the calculator does not report it.
    seconds
        Duration in seconds.
    message
        The reason for a failure.
    """

    change: str
    converged: bool
    n_scf_steps: int | None
    seconds: float
    message: str = ''


class NotConvergedError(Exception):
    """No attempt converged.

    Parameters
    ----------
    message
        The reason.
    attempts
        All attempts.
    """

    def __init__(self, message: str, attempts: tuple[Attempt, ...] = ()):
        super().__init__(message)
        self.attempts = attempts
