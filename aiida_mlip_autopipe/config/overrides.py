"""The overrides that a user writes, and their translation to the grammar of Hydra.

``a.b=c`` changes or adds a value, ``list[0].b=c`` changes an entry of a list, or adds one if the index is the length of
the list, ``+section=preset`` applies a preset, and ``~a.b`` removes a key.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aiida_mlip_autopipe.config.presets import PRESET_SECTIONS
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError

_OVERRIDE = re.compile(r'(?P<sign>\+\+|\+|~|)(?P<key>[^=]*?)(?:=(?P<value>.*))?', re.DOTALL)
_KEY = re.compile(r'[A-Za-z_][\w-]*(?:\.[\w-]+|\[\d+\])*')
_PRESET_NAMES = re.compile(r'[A-Za-z][\w-]*|\[[\w\s,-]+\]')
MAX_LENGTH = 10_000
"""Maximum number of characters of an override."""
MAX_KEY_LENGTH = 200
"""Maximum number of characters of its key, which Hydra looks up as the name of a file."""
# Values that the grammar of Hydra accepts without quotes, and values that it accepts in quotes.
_PLAIN_VALUE = re.compile(r'[A-Za-z0-9_./+%*@?|: -]*')
_QUOTABLE_VALUE = re.compile(r"""[^\[\]{}()'",$\\]*""")


@dataclass(frozen=True)
class Override:
    """One change to a config.

    Attributes
    ----------
    text
        The override as the user wrote it.
    keys
        The path of the value: keys of mappings and, as digits, indices of lists.
    value
        The new value in the grammar of Hydra; None if the key is removed.
    presets
        The names of presets for the section ``keys[0]``; empty if the override is not a preset.
    """

    text: str
    keys: tuple[str, ...]
    value: str | None
    presets: tuple[str, ...] = ()

    @property
    def hydra_text(self) -> str:
        """The override in the grammar of Hydra."""
        key = '.'.join(self.keys)
        if self.presets:
            return f'+{key}=[{",".join(self.presets)}]'
        if self.value is None:
            return f'~{key}'
        if not _PLAIN_VALUE.fullmatch(self.value) and _QUOTABLE_VALUE.fullmatch(self.value):
            return f"++{key}='{self.value}'"
        return f'++{key}={self.value}'


def parse_override(text: str) -> Override:
    """Parse an override.

    Raises
    ------
    AutopipeError
        If it is malformed.
    """
    if len(text) > MAX_LENGTH:
        raise AutopipeError(
            Code.OVERRIDE_INVALID,
            f'the override {text[:40]!r}… has {len(text)} characters; at most {MAX_LENGTH} are allowed',
        )
    match = _OVERRIDE.fullmatch(text)
    assert match is not None  # Every string matches. The key and the value are checked below.
    sign, key, value = match['sign'], match['key'].strip(), match['value']
    if not _KEY.fullmatch(key) or len(key) > MAX_KEY_LENGTH or (value is None) != (sign == '~'):
        raise AutopipeError(
            Code.OVERRIDE_INVALID,
            f'the override {text!r} is malformed; '
            'write section.key=value, list[0].key=value, +section=preset or ~section.key',
        )
    keys = tuple(key.replace('[', '.').replace(']', '').split('.'))
    if keys[0] == 'hydra':
        raise AutopipeError(
            Code.OVERRIDE_INVALID, f'the override {text!r} changes a setting of Hydra, which is not allowed'
        )
    if len(keys) == 1 and key in PRESET_SECTIONS and sign != '~' and _PRESET_NAMES.fullmatch(value.strip()):
        names = value.strip().strip('[]').split(',')
        return Override(text, keys, None, tuple(name.strip() for name in names))
    return Override(text, keys, value)


def explain_failure(override: Override, data: Any, reason: str, *, unreadable: bool) -> str:
    """Return the message for an override that cannot be applied.

    Parameters
    ----------
    override
        The override.
    data
        The config to which it was applied.
    reason
        Hydra's message.
    unreadable
        Whether Hydra cannot parse the value.
    """
    start = f'the override {override.text!r} cannot be applied'
    path = ''
    for key in override.keys:
        if isinstance(data, Sequence) and not isinstance(data, str):
            if not key.isdigit() or int(key) >= len(data):
                entries = 'one entry' if len(data) == 1 else f'{len(data)} entries'
                return f'{start}: {path} has {entries}, so the entry {key!r} does not exist; entries are counted from 0'
            if override.value is None and key == override.keys[-1]:
                return f'{start}: a list entry cannot be removed; replace the list with {path}=[…]'
            data, path = data[int(key)], f'{path}[{key}]'
        else:
            path = f'{path}.{key}'.lstrip('.')
            data = data.get(key) if isinstance(data, dict) else None
    if override.value is None and not override.presets:
        if data is not None:
            return f'{start}: the section {path} cannot be removed while a preset is applied to it'
        return f'{start}: the value {path} does not exist'
    if 'Ambiguous value' in reason or 'Sweep' in reason:
        return f'{start}: write a list as {path}=[a,b], or quote a string that contains a comma'
    if not unreadable:
        return f'{start}: {reason}'
    return f'{start}: its value cannot be parsed; quote a string that contains special characters: {path}="\'…\'"'
