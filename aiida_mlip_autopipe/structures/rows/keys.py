"""The searchable keys of a row, and the keys that rows of earlier versions lack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiida_mlip_autopipe.structures.rows.level import FIXED_METHODS, UNKNOWN_SETTINGS, LevelOfTheory
from aiida_mlip_autopipe.structures.rows.provenance import HASH_PREFIX, Software, searchable

LEVEL = 'level'
"""Key of the hash of the level of theory; also the key in the data of a row for the level itself."""
RENAMED_ROW_KEYS = {'seed_kind': 'kind'}
"""Former names of searchable keys, with the new names."""
DERIVED_KEYS = (LEVEL, 'kind', 'label', 'temperature')
"""Searchable keys that rows of earlier versions lack. They are derived when such a row is read."""
# Calculators whose settings do not change the labels, so the keys of an old row determine the level completely.
_WITHOUT_SETTINGS = ('emt', 'chgnet')
# Earlier versions included the version of ASE in these levels.
_FIXED = tuple(f'mlip:{code}' for code in FIXED_METHODS)


def seed_pairs(record: Mapping[str, Any]) -> dict[str, str]:
    """Return the searchable keys that a row takes from the record of its seed."""
    return {name: searchable(str(record[name])) for name in ('kind', 'label', 'parent') if record.get(name)}


def current_pairs(pairs: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the searchable keys of a row under their current names. Missing ones are derived if possible.

    Parameters
    ----------
    pairs
        The key-value pairs of the row.
    data
        Its further data.
    """
    current = {RENAMED_ROW_KEYS.get(key, key): value for key, value in pairs.items()}
    record = data.get('seed')
    if isinstance(record, Mapping):
        current = seed_pairs(record) | current
    if 'temperature' not in current:
        temperature = current.get('target_temperature_K', current.get('temperature_K'))
        current |= {} if temperature is None else {'temperature': temperature}
    source = str(current.get('label_source', ''))
    if LEVEL not in current or source.startswith(_FIXED):
        if LEVEL not in current and source.startswith('dft:'):
            # Rows of earlier versions contain the calculator of the exploration here.
            current = {key: value for key, value in current.items() if key not in Software.model_fields}
        level = read_level(current, data)
        current |= {} if level is None else {LEVEL: level.hash}
    return current


def read_level(pairs: Mapping[str, Any], data: Mapping[str, Any]) -> LevelOfTheory | None:
    """Return the level of theory of a row. For a row of an earlier version, it is derived from its other keys.

    Returns
    -------
    LevelOfTheory or None
        None if the row does not name the source of its labels.
    """
    if LEVEL in data:
        return LevelOfTheory.model_validate(data[LEVEL])
    source = pairs.get('label_source')
    if source is None:
        return None
    name = str(source)
    method, _, rest = name.partition(':')
    if method == 'mlip':
        code = rest.partition(':')[0]
        return LevelOfTheory(method='mlip', code=code, name=name, parameters=_parameters_of_mlip(pairs, code))
    code = rest.partition(':')[0] or name
    # Only the name distinguishes the levels of old DFT labels.
    return LevelOfTheory(
        method='dft' if method == 'dft' else 'unknown',
        code=code,
        name=name,
        parameters={'label_source': name, 'settings': UNKNOWN_SETTINGS},
    )


def _parameters_of_mlip(pairs: Mapping[str, Any], code: str) -> dict[str, Any]:
    sha256 = str(pairs.get('model_sha256', '')).removeprefix(HASH_PREFIX)
    parameters = {'precision': pairs.get('precision')}
    if sha256:
        parameters['model_sha256'] = sha256
    else:
        parameters |= {'calculator_version': pairs.get('calculator_version'), 'model': pairs.get('model')}
    if code not in _WITHOUT_SETTINGS:
        source = str(pairs.get('source_sha256', '')).removeprefix(HASH_PREFIX)
        parameters |= {'source_sha256': source or None, 'settings': UNKNOWN_SETTINGS}
    return parameters
