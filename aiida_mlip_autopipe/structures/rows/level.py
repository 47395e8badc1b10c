"""The level of theory of labels: everything that changes an energy, a force or a stress."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from aiida_mlip_autopipe.core.settings import Settings

UNKNOWN_SETTINGS = 'unknown'
"""Value of the parameter ``settings`` of a level whose settings were not recorded. Such a level
differs from all known ones."""

FIXED_METHODS = ('emt', 'lj')
"""Codes whose labels do not depend on the version of ASE. EMT gives bit-identical results with ASE 3.23 to 3.29, and
the Lennard-Jones potential is part of this package. Tests compare both with stored values."""


class LevelOfTheory(Settings):
    """The level of theory of the labels of a row. Only labels of the same level may be used together.

    Two levels are the same if their method, their code and all their parameters are the same. Their names may differ.
    """

    method: Literal['mlip', 'dft', 'unknown']
    """The method: ``dft`` for DFT codes, including GPAW, ``mlip`` for all other calculators of this program, and
    ``unknown`` for labels of unknown origin."""
    code: str
    """Kind of the calculator, such as ``mace``, or the DFT code, such as ``vasp``."""
    name: str = Field(min_length=1)
    """Short readable name, such as ``mlip:mace:mp0.model``; not part of the identity. Two levels may share a name."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """Everything that affects the labels, as JSON types: for an MLIP, the sha256 of the model, its head, the dispersion
    and the precision; for DFT, the version, the functional, the cutoff, the density of k-points and the hashes of the
    potentials. Parameters without a value are omitted."""

    @field_validator('parameters')
    @classmethod
    def _normalise(cls, parameters: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        normalised: dict[str, Any] = _normalise(parameters)
        if info.data.get('code') in FIXED_METHODS:
            normalised.pop('calculator_version', None)
        return normalised

    @property
    def hash(self) -> str:
        """Identity of the level: ``level-`` and 16 hexadecimal digits."""
        content = json.dumps([self.method, self.code, self.parameters], sort_keys=True, allow_nan=False)
        return f'level-{hashlib.sha256(content.encode()).hexdigest()[:16]}'

    def differences(self, other: LevelOfTheory) -> tuple[str, ...]:
        """Return the fields in which two levels differ, with both values, such as ``dispersion: false and true``.

        The tuple is empty if the two levels are the same. The parameters of different codes are not compared.
        """
        same_code = (self.method, self.code) == (other.method, other.code)
        mine, theirs = (
            dict(_flatten(one.parameters)) if same_code else {('method',): one.method, ('code',): one.code}
            for one in (self, other)
        )
        names = dict.fromkeys([*mine, *theirs])
        return tuple(
            f'{".".join(name)}: {_show(mine.get(name))} and {_show(theirs.get(name))}'
            for name in names
            # As in the hash, true is not 1.
            if json.dumps(mine.get(name), sort_keys=True) != json.dumps(theirs.get(name), sort_keys=True)
        )


def describe_difference(first: LevelOfTheory | None, second: LevelOfTheory | None) -> str:
    """Return the names of two levels and the fields in which they differ, for messages. None is an unknown level."""
    if first is None or second is None:
        return ' and '.join('unknown' if one is None else one.name for one in (first, second))
    names = first.name if first.name == second.name else f'{first.name} and {second.name}'
    return f'{names} differ in {"; ".join(first.differences(second))}'


def _normalise(value: Any) -> Any:
    """Return JSON types without missing values. Whole numbers become integers, so 520 and 520.0 are the same.

    Other numbers have 14 digits, as in AiiDA's attributes, so a level that was stored there is the same. Values that
    JSON does not support, such as infinity or a date, become text.
    """
    if isinstance(value, Mapping):
        return {str(key): _normalise(one) for key, one in value.items() if one is not None}
    if isinstance(value, list | tuple):
        return [_normalise(one) for one in value]
    if isinstance(value, float) and isfinite(value):
        rounded = float(f'{value:.14g}')
        return int(rounded) if rounded.is_integer() else rounded
    return value if value is None or isinstance(value, str | int) else str(value)


def _flatten(values: Mapping[str, Any], prefix: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flatten(value, (*prefix, name))
        else:
            yield (*prefix, name), value


def _show(value: Any) -> str:
    if value is None:
        return 'none'
    if isinstance(value, str):
        return f'{value[:12]}…' if len(value) == 64 else value
    return json.dumps(value)
