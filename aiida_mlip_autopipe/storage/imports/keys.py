"""Identify the labels among the values of a file, whose keys differ between programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Literal

import numpy as np

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.storage.imports.frames import Candidate, Frame, check_frame
from aiida_mlip_autopipe.storage.imports.units import STRESS_UNITS, StressUnit, to_voigt

Quantity = Literal['energy', 'forces', 'stress', 'virial']

# Prefixes and suffixes that programs add to the name of a quantity.
_SOURCES = ('', 'ref', 'dft', 'qm', 'target', 'true')
_NAMES: dict[Quantity, tuple[str, ...]] = {
    'energy': ('energy', 'e', 'freeenergy', 'totalenergy', 'energytotal', 'etot', 'potentialenergy'),
    'forces': ('forces', 'force', 'f'),
    'stress': ('stress',),
    'virial': ('virial', 'virials'),
}
KEYS: dict[Quantity, frozenset[str]] = {
    quantity: frozenset(key for name in names for source in _SOURCES for key in (source + name, name + source))
    for quantity, names in _NAMES.items()
}
"""The keys of each quantity, in lower case and without underscores and hyphens."""


class LabelKeys(Settings):
    """The keys and units of the labels in a file. By default, keys are recognised, and units are those of ASE."""

    energy_key: str | None = None
    """Key of the energy."""
    forces_key: str | None = None
    """Key of the forces."""
    stress_key: str | None = None
    """Key of the stress."""
    virial_key: str | None = None
    """Key of the virial in eV, which is minus the stress times the volume of the cell."""
    energy_unit: Literal['eV', 'eV/atom'] | None = None
    """Unit of the energy; eV by default. If it is set, the unit of the energies is not checked."""
    stress_unit: StressUnit | None = None
    """Unit of the stress; eV/Å³ by default. If it is set, the unit of the stresses is not checked."""
    stress_sign: Literal['tension', 'compression'] | None = None
    """Load under which a stress is positive: ``tension`` as in ASE (the default), or ``compression`` as in VASP. If it
    is set, the sign of the stresses is not checked."""


class LabelFinder:
    """Finds the labels of the frames of one file, which must have the same keys in all its frames.

    Parameters
    ----------
    keys
        The keys and units that the user gives.
    """

    def __init__(self, keys: LabelKeys):
        self._given = keys
        self._found: dict[Quantity, str] = {}

    def find(self, candidate: Candidate, where: str) -> Frame:
        """Return a frame with its labels.

        Raises
        ------
        AutopipeError
            If energy or forces are missing, a value is not finite or has the wrong shape, or several keys could contain
            a label (``LABELS_AMBIGUOUS``). ``where`` names the frame.
        """
        atoms, rest = candidate.atoms, dict(candidate.values)
        n_atoms, volume = len(atoms), float(atoms.cell.volume)
        used: dict[str, str] = {}
        labels: dict[str, Any] = {}

        def take(quantity: Quantity, convert: Callable[[Any], Any]) -> Any:
            name = self._choose(quantity, rest, convert, where)
            if name is None:
                return None
            try:
                value = convert(rest.pop(name))
            except (ValueError, TypeError) as error:
                raise AutopipeError(Code.LABELS_MALFORMED, f'{where}: {name}: {error}') from None
            used[quantity] = name
            is_given = getattr(self._given, f'{quantity}_key') is not None
            for other in _names(quantity, tuple(rest)):
                # If the key is not given, all values of the quantity agree.
                if not is_given or _agree(_attempt(convert, rest[other]), value):
                    del rest[other]
            return value

        energy_factor = n_atoms if self._given.energy_unit == 'eV/atom' else 1
        labels['energy'] = take('energy', lambda value: _scalar(value) * energy_factor)
        labels['forces'] = take('forces', lambda value: _vectors(value, n_atoms))
        for quantity, found in labels.items():
            if found is None:
                hints = [name for name in rest if quantity[:4] in name.lower()]
                hint = f'; --{quantity}-key can name one of {", ".join(sorted(hints))}' if hints else ''
                raise AutopipeError(Code.LABELS_MISSING, f'{where}: {quantity}: no key was recognised{hint}')
        sign = -1.0 if self._given.stress_sign == 'compression' else 1.0
        factor = sign * STRESS_UNITS[self._given.stress_unit or 'eV/A3']
        given = self._given
        stress = None if given.virial_key else take('stress', lambda value: to_voigt(value) * factor)
        virial = None
        if volume > 0 and not given.stress_key:
            virial = take('virial', lambda value: -to_voigt(value) / volume)
        if stress is not None and virial is not None and not _agree(stress, virial):
            raise AutopipeError(
                Code.LABELS_AMBIGUOUS,
                f'{where}: the stress in {used["stress"]} is not minus {used["virial"]} divided by the volume; '
                'name one of them with --stress-key or --virial-key',
            )
        found = virial if stress is None else stress
        if found is not None and atoms.pbc.all():
            labels['stress'] = found
        elif found is not None:
            # A row has a stress only if it is periodic in all directions. Other values are stored unchanged.
            unused = [used.pop(name) for name in ('stress', 'virial') if name in used]
            rest |= {name: candidate.values[name] for name in unused}
        check_frame(labels, atoms, where)
        return Frame(candidate.index, atoms, labels, used, rest, stored=candidate.stored)

    def _choose(
        self, quantity: Quantity, values: Mapping[str, Any], convert: Callable[[Any], Any], where: str
    ) -> str | None:
        """Return the key of a quantity, or None if there is none."""
        given: str | None = getattr(self._given, f'{quantity}_key')
        if given is not None:
            if given not in values:
                raise AutopipeError(
                    Code.LABELS_MISSING, f'{where}: {given}: no such key; existing keys: {_list(values)}'
                )
            return given
        names = _names(quantity, tuple(values))
        if not names:
            return None
        earlier = self._found.setdefault(quantity, names[0])
        first = _attempt(convert, values[names[0]]) if len(names) > 1 else None
        if any(not _agree(_attempt(convert, values[name]), first) for name in names[1:]) or earlier not in names:
            shown = ', '.join(f'{name} ({_show(values[name])})' for name in names)
            before = '' if earlier in names else f', but it was {earlier} in earlier frames'
            raise AutopipeError(
                Code.LABELS_AMBIGUOUS,
                f'{where}: {quantity}: the key could be {shown}{before}; name it with --{quantity}-key',
            )
        return names[0]


@lru_cache(maxsize=4096)
def _names(quantity: Quantity, names: tuple[str, ...]) -> list[str]:
    """Return those of the keys that could be a quantity. Most frames of a file have the same keys."""
    return [name for name in names if name.lower().replace('_', '').replace('-', '') in KEYS[quantity]]


def _attempt(convert: Callable[[Any], Any], value: Any) -> Any:
    try:
        return convert(value)
    except (ValueError, TypeError):
        return None


def _agree(first: Any, second: Any) -> bool:
    if first is None or second is None:
        return first is second
    # Extended XYZ rounds some numbers to eight decimals.
    return np.array_equal(first, second) or bool(np.allclose(first, second, rtol=1e-9, atol=1e-7, equal_nan=True))


def _scalar(value: Any) -> float:
    array = np.asarray(value, dtype=float)
    if array.size != 1:
        raise ValueError(f'one number is required, but it has the shape {array.shape}')
    return float(array.reshape(()))


def _vectors(value: Any, n_atoms: int) -> np.ndarray:
    array = np.asarray(value, dtype=float)
    if array.shape != (n_atoms, 3):
        raise ValueError(f'the shape ({n_atoms}, 3) is required, but it has the shape {array.shape}')
    return array


def _show(value: Any) -> str:
    array = np.asarray(value)
    return f'{value:g}' if array.dtype.kind in 'if' and not array.shape else f'shape {array.shape}'


def _list(values: Mapping[str, Any]) -> str:
    return ', '.join(sorted(values)) or 'none'
