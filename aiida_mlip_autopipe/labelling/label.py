"""The label of a structure, or the reason why it has none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import ConfigDict, TypeAdapter

from aiida_mlip_autopipe.calculators.attempts import Attempt

EnergyKind = Literal['free_energy', 'extrapolated', 'total']
"""The energy of a label: the electronic free energy, whose derivatives are the forces, its extrapolation to zero
smearing width, or the only energy that the calculator has."""

Rule = Literal['not_converged', 'time_limit', 'out_of_memory', 'killed', 'raised', 'not_finite']
"""Why a structure has no label. It is ``killed`` if every job that tried the structure ended without a result."""

LASTING_FAILURES: frozenset[Rule] = frozenset({'not_converged', 'raised', 'not_finite'})
"""Failures that the same calculation would have again. The others depend on the resources of the job."""

ARRAYS = {'forces_eV_A': (-1, 3), 'stress_eV_A3': (6,), 'magnetic_moments_muB': (-1,)}
"""The fields of a label that are arrays, with their shapes; -1 is any length."""


@dataclass(frozen=True, eq=False)
class Label:
    """The results of a labeller for one structure.

    Attributes
    ----------
    energy_eV
        The energy that the settings choose, in eV.
    energy_kind
        Which energy this is.
    free_energy_eV, extrapolated_energy_eV
        Both energies in eV; None if the calculator does not distinguish them.
    forces_eV_A
        Forces in eV/Å, (n, 3), including those on fixed atoms.
    stress_eV_A3
        Stress in eV/Å³ with ASE's sign convention and Voigt order, (6,); None if the structure is not periodic in all
        directions.
    magnetic_moments_muB
        Magnetic moments of the atoms in μB, (n,); None if the calculation is not spin-polarised.
    attempts
        The attempts, of which the last one converged.
    seconds
        Duration of all attempts in seconds.
    threads
        Number of threads.
    """

    __pydantic_config__: ClassVar = ConfigDict(arbitrary_types_allowed=True, extra='forbid')

    energy_eV: float
    energy_kind: EnergyKind
    forces_eV_A: np.ndarray
    free_energy_eV: float | None = None
    extrapolated_energy_eV: float | None = None
    stress_eV_A3: np.ndarray | None = None
    magnetic_moments_muB: np.ndarray | None = None
    attempts: tuple[Attempt, ...] = ()
    seconds: float = 0.0
    threads: int = 1

    def to_json(self) -> dict[str, Any]:
        """Return the label as JSON types, without loss of precision."""
        content = {**vars(self), 'attempts': [asdict(one) for one in self.attempts]}
        for name in ARRAYS:
            if content[name] is not None:
                content[name] = np.asarray(content[name], dtype=float).tolist()
        return content


@dataclass(frozen=True)
class Failure:
    """The reason why a structure has no label.

    Attributes
    ----------
    reason
        A sentence.
    rule
        The kind of failure.
    attempts
        The attempts, none of which converged.
    seconds
        Duration of all attempts in seconds.
    threads
        Number of threads.
    """

    __pydantic_config__: ClassVar = ConfigDict(extra='forbid')

    reason: str
    rule: Rule
    attempts: tuple[Attempt, ...] = ()
    seconds: float = 0.0
    threads: int = 1

    def to_json(self) -> dict[str, Any]:
        """Return the failure as JSON types."""
        return asdict(self) | {'attempts': [asdict(one) for one in self.attempts]}


def outcome_from_json(content: Mapping[str, Any]) -> Label | Failure:
    """Return the label or the failure that ``to_json`` wrote.

    Raises
    ------
    ValueError
        If a field is missing, is unknown or has the wrong type.
    """
    if 'rule' in content:
        return _failure().validate_python(content)
    try:
        arrays = {
            name: np.array(content[name], dtype=float).reshape(shape)
            for name, shape in ARRAYS.items()
            if content.get(name) is not None
        }
    except TypeError as error:
        raise ValueError(str(error)) from error
    return _label().validate_python({**content, **arrays})


@cache
def _failure() -> TypeAdapter[Failure]:
    return TypeAdapter(Failure)


@cache
def _label() -> TypeAdapter[Label]:
    return TypeAdapter(Label)
