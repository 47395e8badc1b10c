"""Strict reading of YAML files, whose content must be a mapping with unique string keys.

Plain scalars are read with the core schema of YAML 1.2: ``No`` is nobelium, ``on`` a string and ``1e-3`` a number. In
YAML 1.1, these are two booleans and a string. Unlike in the core schema, ``0o17`` and ``0x1F`` are strings.

PyYAML, which Hydra requires anyway, parses the files, and this module converts the values. Most of this module would
also be necessary with ruamel.yaml, which converts values to dates, sets and bytes, accepts keys that are not strings,
and allows an anchor to contain itself. ruamel.yaml reads ``1_000`` as a number and ``.5e3`` as a string, and fails on
``._`` without reporting the line. It takes 1.8 times as long for the example configs (`benchmarks/yaml_readers.py`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError

_WORDS: dict[str, bool | None] = {'': None, '~': None, 'null': None, 'Null': None, 'NULL': None}
_WORDS |= dict.fromkeys(('true', 'True', 'TRUE'), True) | dict.fromkeys(('false', 'False', 'FALSE'), False)
_INTEGER = re.compile(r'[-+]?[0-9]+')
_FLOAT = re.compile(r'[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?')
_NOT_FINITE = re.compile(r'[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)')
MAX_BYTES = 1_000_000
"""Maximum size of a file."""
MAX_DEPTH = 40
"""Maximum depth of nested mappings and lists."""
MAX_VALUES = 100_000
"""Maximum number of values. Every use of an alias counts, because it copies the values."""
MAX_DIGITS = 30
"""Maximum number of digits of an integer."""

_PLAIN_TAGS = {f'tag:yaml.org,2002:{name}' for name in ('str', 'seq', 'map')}


def read_yaml_file(path: Path) -> dict[str, Any]:
    """Read a YAML file whose content is a mapping.

    Parameters
    ----------
    path
        The file, in UTF-8.

    Returns
    -------
    dict
        JSON types, including floats that are not finite.

    Raises
    ------
    AutopipeError
        If the file cannot be read, or its content is not valid or exceeds a limit of this module; the message names the
        line.
    """
    try:
        # A device such as /dev/zero never ends, so no more than the limit is read.
        with path.open('rb') as file:
            content = file.read(MAX_BYTES + 1)
        text = content.decode('utf-8-sig')
    except FileNotFoundError:
        raise AutopipeError(Code.FILE_MISSING, f'the file {path} does not exist') from None
    except IsADirectoryError:
        raise AutopipeError(Code.NOT_A_FILE, f'{path} is a folder, not a file') from None
    except UnicodeDecodeError:
        raise AutopipeError(Code.FILE_UNREADABLE, f'{path} is not a text file in UTF-8') from None
    except OSError as error:
        raise AutopipeError(Code.FILE_UNREADABLE, f'{path} cannot be read: {error.strerror}') from error
    if len(content) > MAX_BYTES:
        raise AutopipeError(Code.YAML_INVALID, f'{path} is larger than {MAX_BYTES // 10**6} MB')
    return read_yaml_text(text, str(path))


def read_yaml_text(text: str, source: str) -> dict[str, Any]:
    """Return the mapping in a YAML text.

    Parameters
    ----------
    text
        The text.
    source
        Where it is from, for messages.

    Raises
    ------
    AutopipeError
        If the content is not valid; the message names the line.
    """
    try:
        node = yaml.compose(text, Loader=yaml.BaseLoader)
    except RecursionError:
        raise AutopipeError(Code.YAML_INVALID, f'{source}: {_TOO_DEEP}') from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f', line {mark.line + 1}, column {mark.column + 1}' if mark else ''
        raise AutopipeError(
            Code.YAML_INVALID, f'{source}{where}: this is not valid YAML ({error.problem or error.context})'
        ) from error
    except yaml.YAMLError as error:
        raise AutopipeError(
            Code.YAML_INVALID, f'{source}: this is not valid YAML ({" ".join(str(error).split())})'
        ) from error
    if node is None:
        raise AutopipeError(Code.YAML_INVALID, f'{source} is empty; write an example with `mlip-autopipe config init`')
    if not isinstance(node, yaml.MappingNode):
        raise AutopipeError(
            Code.YAML_INVALID,
            f'{source}: the file must be a mapping with keys such as `name: …`, but it is {_node_type(node)}',
        )
    return _NodeReader(source).mapping(node)


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    """A dumper that quotes all strings that a YAML reader could read as numbers."""


_Dumper.add_implicit_resolver('tag:yaml.org,2002:float', re.compile(f'({_FLOAT.pattern})$'), list('-+.0123456789'))


def yaml_text(data: Mapping[str, Any]) -> str:
    """Return a mapping of JSON types as YAML that `read_yaml_file` and Hydra read as the same mapping."""
    text: str = yaml.dump(_escape(data), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return text


def _escape(value: Any) -> Any:
    """Return a value with escaped interpolations, which Hydra does not resolve."""
    if isinstance(value, Mapping):
        return {key: _escape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_escape(item) for item in value]
    return value.replace('${', r'\${') if isinstance(value, str) else value


_TOO_DEEP = f'mappings and lists must not be nested more than {MAX_DEPTH} levels deep'


def _node_type(node: yaml.Node) -> str:
    return 'a list' if isinstance(node, yaml.SequenceNode) else 'a single value'


class _NodeReader:
    """A converter of the YAML nodes of a file to values."""

    def __init__(self, source: str):
        self._source = source
        self._open: set[int] = set()
        self._n_values = 0

    def _error_at(self, node: yaml.Node, message: str) -> AutopipeError:
        return AutopipeError(Code.YAML_INVALID, f'{self._source}, line {node.start_mark.line + 1}: {message}')

    def _value(self, node: yaml.Node) -> Any:
        self._n_values += 1
        if self._n_values > MAX_VALUES:
            raise self._error_at(node, f'the file has more than {MAX_VALUES} values, including those of aliases')
        if len(self._open) >= MAX_DEPTH:
            raise self._error_at(node, _TOO_DEEP)
        if node.tag not in _PLAIN_TAGS:
            raise self._error_at(node, f'the tag {node.tag.replace("tag:yaml.org,2002:", "!!")} is not supported')
        if isinstance(node, yaml.ScalarNode):
            if not node.style and len(node.value) > MAX_DIGITS and _INTEGER.fullmatch(node.value):
                raise self._error_at(node, f'the number has {len(node.value)} digits; at most {MAX_DIGITS} are allowed')
            return node.value if node.style else _plain_scalar(node.value)
        if id(node) in self._open:
            raise self._error_at(node, 'this anchor contains itself')
        self._open.add(id(node))
        is_list = isinstance(node, yaml.SequenceNode)
        value = [self._value(item) for item in node.value] if is_list else self.mapping(node)
        self._open.remove(id(node))
        return value

    def mapping(self, node: yaml.MappingNode) -> dict[str, Any]:
        """Return the mapping of a node, whose own keys override the keys that ``<<`` merges."""
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            value = self._value(value_node)
            if key_node.value == '<<' and not key_node.style:
                for source in value if isinstance(value, list) else [value]:
                    if not isinstance(source, dict):
                        raise self._error_at(key_node, '<< requires a mapping or a list of mappings')
                    merged = source | merged
                continue
            key = self._value(key_node)
            if not isinstance(key, str):
                given = key_node.value or 'null' if isinstance(key_node, yaml.ScalarNode) else _node_type(key_node)
                raise self._error_at(key_node, f'the key {given} is not a string; quote it')
            if key in own:
                raise self._error_at(key_node, f'the key {key!r} is repeated')
            own[key] = value
        return merged | own


def _plain_scalar(text: str) -> Any:
    """Return the value of a plain scalar."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) or _NOT_FINITE.fullmatch(text):
        return float(text.lower().replace('.inf', 'inf').replace('.nan', 'nan'))
    return text
