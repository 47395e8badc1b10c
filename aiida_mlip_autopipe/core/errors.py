"""Faults that a person can mend: each is one sentence that names the place, the value and what is allowed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aiida_mlip_autopipe.core.codes import Code


class AutopipeError(Exception):
    """Base of every error that is shown to the user as one sentence, without a traceback.

    Parameters
    ----------
    code
        The code of the error.
    message
        The sentence for the user.
    """

    def __init__(self, code: Code | str, message: str = ''):
        # TODO: the code becomes required.
        if not message:
            code, message = Code.VALUE_INVALID, code
        self.code = Code[code.upper()]
        super().__init__(code, message)

    def __str__(self) -> str:
        return str(self.args[1])


class ModelMissingError(AutopipeError):
    """A model whose bytes are not stored and whose files are gone.

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
            f'the model of sha256 {sha256} is not on {computer}, and its bytes are not stored; '
            f"'mlip-autopipe calculator place FILE --computer {computer}' puts the file of that sha256 there",
        )

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        """Return how it is made again in another process."""
        return type(self), (self.sha256, self.computer)


@dataclass(frozen=True)
class Fault:
    """One fault of a config file.

    Attributes
    ----------
    code
        The code of the fault.
    path
        Where in the file, as ``exploration.temperature_K`` or ``generation[0].elements``.
    given
        What stands there, as text.
    allowed
        What may stand there, as a phrase.
    nearest
        The nearest valid name, where a name was mistyped.
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
    """A config with one or more faults, all of them told at once.

    Parameters
    ----------
    faults
        Every fault found.
    """

    def __init__(self, faults: Sequence[Fault]):
        self.faults = tuple(faults)
        super().__init__(Code.CONFIG_INVALID, '\n'.join(str(fault) for fault in self.faults))


class CombinedError(AutopipeError):
    """Errors that are reported together, one a line; the code is that of the first.

    Parameters
    ----------
    errors
        The errors.
    """

    def __init__(self, errors: Sequence[AutopipeError]):
        self.errors = tuple(errors)
        super().__init__(self.errors[0].code, '\n'.join(dict.fromkeys(str(error) for error in self.errors)))


class PhysicsViolationError(AutopipeError):
    """A structure that breaks a rule of validity.

    Parameters
    ----------
    rule
        The rule's name, as ``min_distance``.
    atoms
        The indices of the atoms concerned; empty where the rule is about the whole cell.
    value, limit
        What was found and what the rule asks for, in the rule's unit.
    message
        The sentence for the user.
    """

    def __init__(self, rule: str, atoms: Sequence[int], value: float, limit: float, message: str):
        self.rule = rule
        self.atoms = tuple(atoms)
        self.value = value
        self.limit = limit
        super().__init__(Code.STRUCTURE_INVALID, message)

    def __reduce__(self) -> tuple[type, tuple[str, tuple[int, ...], float, float, str]]:
        """Return how it is made again in another process."""
        return type(self), (self.rule, self.atoms, self.value, self.limit, str(self))
