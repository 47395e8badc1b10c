"""Errors that a user can correct: each message names the place, the value and what is allowed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aiida_mlip_autopipe.core.codes import Code


class AutopipeError(Exception):
    """Base class of the errors that are shown to the user as one sentence without a traceback.

    Parameters
    ----------
    code
        The code of the error.
    message
        The message for the user, one sentence.
    """

    def __init__(self, code: Code, message: str):
        self.code = code
        super().__init__(code, message)

    def __str__(self) -> str:
        return str(self.args[1])


class ModelMissingError(AutopipeError):
    """A model is not on the computer where it is required, and its bytes are not stored.

    Parameters
    ----------
    sha256
        The sha256 of the required file.
    computer
        The computer where it is required.
    """

    def __init__(self, sha256: str, computer: str):
        self.sha256 = sha256
        self.computer = computer
        super().__init__(
            Code.MODEL_MISSING,
            f'the model with sha256 {sha256} is not on {computer}, and its bytes are not stored; '
            f"place it with 'mlip-autopipe calculator place FILE --computer {computer}'",
        )

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        """Return the class and the arguments with which another process recreates the error."""
        return type(self), (self.sha256, self.computer)


def first_line(error: BaseException) -> str:
    """Return the first line of the message of an error, or the name of its class if it has no message."""
    return next(iter(str(error).splitlines()), '') or type(error).__name__


@dataclass(frozen=True)
class Fault:
    """A fault in a config file.

    Attributes
    ----------
    code
        The code of the fault.
    path
        The place in the file, such as ``exploration.temperature_K`` or ``generation[0].elements``.
    given
        The value in the file, as text.
    allowed
        What is allowed, as a phrase.
    nearest
        The most similar valid name, if a name was mistyped.
    """

    code: Code
    path: str
    given: str
    allowed: str
    nearest: str | None = None

    def __str__(self) -> str:
        hint = f'; did you mean {self.nearest!r}?' if self.nearest else ''
        return f'{self.path}: got {self.given}; {self.allowed}{hint}'


class ConfigError(AutopipeError):
    """A config has one or more faults, which are reported together.

    Parameters
    ----------
    faults
        All faults of the config.
    """

    def __init__(self, faults: Sequence[Fault]):
        self.faults = tuple(faults)
        super().__init__(Code.CONFIG_INVALID, '\n'.join(str(fault) for fault in self.faults))


class CombinedError(AutopipeError):
    """Several errors that are raised as one and reported one per line. The code is that of the first error.

    Parameters
    ----------
    errors
        The errors.
    """

    def __init__(self, errors: Sequence[AutopipeError]):
        self.errors = tuple(errors)
        super().__init__(self.errors[0].code, '\n'.join(dict.fromkeys(str(error) for error in self.errors)))


class PhysicsViolationError(AutopipeError):
    """A structure violates a validation rule.

    Parameters
    ----------
    rule
        The name of the rule, such as ``min_distance``.
    atoms
        The indices of the atoms that violate the rule; empty if the rule is about the cell.
    value, limit
        The value of the structure and the limit of the rule, in the unit of the rule.
    message
        The message for the user, one sentence.
    """

    def __init__(self, rule: str, atoms: Sequence[int], value: float, limit: float, message: str):
        self.rule = rule
        self.atoms = tuple(atoms)
        self.value = value
        self.limit = limit
        super().__init__(Code.STRUCTURE_INVALID, message)

    def __reduce__(self) -> tuple[type, tuple[str, tuple[int, ...], float, float, str]]:
        """Return the class and the arguments with which another process recreates the error."""
        return type(self), (self.rule, self.atoms, self.value, self.limit, str(self))
