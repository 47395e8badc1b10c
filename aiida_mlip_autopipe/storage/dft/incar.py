"""The tags of an INCAR: which ones are accepted, and how they are written.

The names and types are those of pymatgen and ASE. `pymatgen.io.vasp.inputs.Incar` does not write the file, because it
writes ``Yes`` for ``yes`` and only warns of unknown tags.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError

STEPS = 'the labels are those of the unchanged structure'
SPECIFIC = 'one value does not fit structures of different sizes and compositions'
PENALTY = 'it adds a penalty to the energy'
FIELD = 'it adds an electric field to the energy'
# Tags with the only allowed value, and the reason.
REQUIRED = {'NSW': (0, STEPS), 'IBRION': (-1, STEPS)}
# Tags that change the structure, the energy or the stress of a row, or that have no effect.
REFUSED = {
    'PSTRESS': 'it adds a pressure to the stress',
    'IMAGES': STEPS,
    'EFIELD': FIELD,
    'EFIELD_PEAD': FIELD,
    'I_CONSTRAINED_M': PENALTY,
    'M_CONSTR': PENALTY,
    'LAMBDA': PENALTY,
    'LPARD': 'VASP then computes no energy',
    'IALGO': 'use ALGO',
    'ENMAX': 'use ENCUT',
    'KSPACING': 'use kspacing_per_A; VASP ignores it, because there is a KPOINTS file',
    'KGAMMA': 'VASP ignores it, because there is a KPOINTS file',
    'MAGMOM': 'use initial_magnetic_moments, with a value for each element',
    **dict.fromkeys(('POTIM', 'EDIFFG', 'SMASS', 'MDALGO', 'TEBEG', 'TEEND', 'NFREE'), 'a single point ignores it'),
    **dict.fromkeys(('NELECT', 'NBANDS', 'NUPDOWN', 'FERWE', 'FERDO', 'DIPOL', 'QSPIRAL'), SPECIFIC),
    **dict.fromkeys(('NGX', 'NGY', 'NGZ', 'NGXF', 'NGYF', 'NGZF'), SPECIFIC),
}
# Algorithms that reach self-consistency.
ALGORITHMS = ('normal', 'veryfast', 'fast', 'conjugate', 'all', 'damped', 'subrot')
# Tags with a value for each element, and the value for the other elements.
BY_ELEMENT: dict[str, float] = {'LDAUU': 0.0, 'LDAUJ': 0.0, 'LDAUL': -1}
WORDS = {
    **dict.fromkeys(('yes', 'on', 'true', 't', '.true.', '.t.'), True),
    **dict.fromkeys(('no', 'off', 'false', 'f', '.false.', '.f.'), False),
}


def check_incar(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tags in upper case, with values of the types that VASP expects.

    Raises
    ------
    AutopipeError
        If the cutoff is missing, or for the first tag that is unknown, has an unsuitable value, or would change the
        structure or the labels.
    """
    tags = {name.upper().strip(): value for name, value in given.items()}
    if len(tags) < len(given):
        raise AutopipeError(Code.VALUES_EXCLUDE, 'a tag is given twice, in upper and in lower case')
    tags = {name: _checked(name, value) for name, value in tags.items()}
    if 'ENCUT' not in tags:
        raise AutopipeError(
            Code.VALUE_MISSING,
            'ENCUT is required, such as ENCUT: 520 (eV); without it, the cutoff of a row depends on its elements',
        )
    return tags


def _checked(tag: str, value: Any) -> Any:
    if tag.startswith('ML_') or tag in REFUSED:
        raise AutopipeError(Code.VALUE_INVALID, f'{tag} is not allowed: {REFUSED.get(tag, STEPS)}')
    kind = _types_of_pymatgen().get(tag) or _types_of_ase().get(tag)
    if kind is None:
        near = get_close_matches(tag, _types_of_ase() | _types_of_pymatgen(), n=1)
        raise AutopipeError(
            Code.KEY_UNKNOWN, f'{tag} is not a tag of VASP' + (f'; did you mean {near[0]}?' * len(near))
        )
    if tag in BY_ELEMENT:
        if not isinstance(value, Mapping) or not all(_is_number(one) for one in value.values()):
            raise AutopipeError(
                Code.TYPE_WRONG, f'{tag} must have a number for each element, such as {tag}: {{Fe: 2}}; got {value}'
            )
        return dict(value)
    found = _typed(tag, value, kind)
    if tag in REQUIRED and found != REQUIRED[tag][0]:
        raise AutopipeError(Code.VALUE_INVALID, f'{tag} must be {REQUIRED[tag][0]}: {REQUIRED[tag][1]}; got {value}')
    if tag == 'ISIF' and found < 2:
        raise AutopipeError(
            Code.OUT_OF_RANGE, f'ISIF must be at least 2, so that VASP computes the stress; got {value}'
        )
    if tag == 'ICHARG' and found >= 10:
        raise AutopipeError(
            Code.OUT_OF_RANGE,
            f'ICHARG must be below 10: otherwise, the calculation is not self-consistent; got {value}',
        )
    if tag == 'ALGO' and found.lower() not in ALGORITHMS:
        raise AutopipeError(Code.CHOICE_UNKNOWN, f'ALGO must be one of {", ".join(ALGORITHMS)}; got {value}')
    return found


def _typed(tag: str, value: Any, kind: str) -> Any:
    word = WORDS.get(str(value).lower())
    if kind == 'bool | str' and word is None:
        return str(value)
    if kind.startswith('bool'):
        if word is None:
            raise AutopipeError(Code.TYPE_WRONG, f'{tag} must be true or false; got {value}')
        return word
    try:
        if isinstance(value, bool) or (kind in ('str', 'int', 'float') and isinstance(value, Mapping | list)):
            raise ValueError
        if kind == 'int':
            if float(value) != int(float(value)):
                raise ValueError
            return int(float(value))
        if kind == 'float':
            return float(value)
    except (ValueError, TypeError):
        expected = {'int': 'a whole number', 'float': 'a number', 'str': 'a string'}.get(kind, 'a list of values')
        raise AutopipeError(Code.TYPE_WRONG, f'{tag} must be {expected}; got {value}') from None
    return str(value) if kind == 'str' else value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@cache
def _types_of_pymatgen() -> dict[str, str]:
    """Return the type of each tag that pymatgen knows."""
    from importlib.util import find_spec

    # The package is not imported, because that takes seconds.
    package = find_spec('pymatgen.io.vasp')
    assert package is not None  # pymatgen is a dependency
    text = Path(str(package.origin)).with_name('incar_parameters.json').read_text()
    return {name: about['type'] for name, about in json.loads(text).items()}


@cache
def _types_of_ase() -> dict[str, str]:
    """Return the type of each tag that ASE knows. Its module imports Matplotlib, which takes a second."""
    from ase.calculators.vasp import create_input

    groups = {
        'float': ('float_keys', 'exp_keys'),
        'str': ('string_keys',),
        'int': ('int_keys',),
        'bool': ('bool_keys',),
        'list': ('list_int_keys', 'list_bool_keys', 'list_float_keys', 'special_keys'),
    }
    return {
        name.upper(): kind for kind, lists in groups.items() for keys in lists for name in getattr(create_input, keys)
    }


def resolve_elements(tags: Mapping[str, Any], elements: Sequence[str]) -> dict[str, Any]:
    """Return the tags with a list in the order of the elements instead of a value for each element."""
    return {
        name: [value.get(element, BY_ELEMENT[name]) for element in elements] if name in BY_ELEMENT else value
        for name, value in tags.items()
    }


def write_incar(tags: Mapping[str, Any]) -> str:
    """Return the text of an INCAR."""
    return ''.join(f'{name} = {_text(name, tags[name])}\n' for name in sorted(tags))


def _text(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return '.TRUE.' if value else '.FALSE.'
    if name == 'MAGMOM':
        return ' '.join(f'{len(list(group))}*{moment}' for moment, group in groupby(value))
    return ' '.join(_text('', one) for one in value) if isinstance(value, list) else str(value)
