"""Arbitrary and mutated input for property-based tests of everything that reads files."""

from __future__ import annotations

import io
import json
import resource
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

pytest.importorskip('hypothesis', reason='the group `test` of pyproject.toml contains it')

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

# The tests import them from here, so that they are skipped as a whole without hypothesis.
__all__ = ['given', 'st']

EXAMPLES = {'quick': 25, 'thorough': 3000}
thoroughly = pytest.mark.parametrize('profile', ['quick', pytest.param('thorough', marks=pytest.mark.long)])
"""Runs a test with few and always the same examples, and, among the long tests, with many random ones."""

MAX_GROWTH_KB = 500_000


def examples(profile: str, share: float = 1.0) -> settings:
    """Return the settings of a profile, with a share of its examples for slow tests."""
    return settings(
        max_examples=max(1, int(EXAMPLES[profile] * share)),
        derandomize=profile == 'quick',
        # Other processes also use the machine. An example takes milliseconds.
        deadline=timedelta(seconds=30),
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@contextmanager
def little_memory() -> Iterator[None]:
    """Check that a block does not need much memory, for example for an array as large as a damaged file claims."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MAX_GROWTH_KB


numbers = st.one_of(
    st.integers(-3, 3),
    st.integers(),
    st.floats(),
    st.sampled_from([2**31, 2**63, 2**64, -(2**63), 10**30, 10**400, 1e308, 5e-324]),
)
words = st.one_of(
    st.sampled_from(
        ['', '../../x', '$(touch x)', '`touch x`', "'; touch x; '", 'a\nb', '\0', '<script>', '-rf', '１２']
    ),
    st.text(max_size=12),
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, words),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(words, inner, max_size=4)),
    max_leaves=6,
)
"""Arbitrary JSON values, and numbers that JSON does not allow."""


@st.composite
def damaged(draw: Callable[..., Any], content: bytes) -> bytes:
    """Return bytes with flipped bits, and with parts that are removed, inserted or replaced."""
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, max(0, len(data) - 1)))
        end = min(len(data), start + draw(st.integers(1, 24)))
        kind = draw(st.sampled_from(['flip', 'cut', 'remove', 'insert', 'replace', 'repeat', 'count']))
        if kind == 'flip' and data:
            data[start] ^= 1 << draw(st.integers(0, 7))
        elif kind == 'cut':
            del data[start:]
        elif kind == 'remove':
            del data[start:end]
        elif kind == 'repeat':
            data[end:end] = data[start:end]
        elif kind == 'count':
            data[start : start + 8] = draw(
                st.sampled_from([b'\xff' * 8, b'\x00\x00\x00\x00\x00\x10\x00\x00', b'99999999'])
            )
        else:
            data[start : end if kind == 'replace' else start] = draw(st.binary(max_size=24))
    return bytes(data)


@st.composite
def changed(draw: Callable[..., Any], content: Any) -> Any:
    """Return JSON types of which some values are replaced, removed, renamed or added."""
    found = json.loads(json.dumps(content))
    for _ in range(draw(st.integers(1, 2))):
        parent: Any = None
        key: Any = None
        here = found
        while isinstance(here, dict | list) and here and (parent is None or draw(st.integers(0, 3))):
            parent = here
            key = draw(st.sampled_from(sorted(here) if isinstance(here, dict) else range(len(here))))
            here = here[key]
        kind = draw(st.sampled_from(['replace', 'replace', 'remove', 'add', 'nest']))
        if parent is None:
            found = draw(values)
        elif kind == 'remove':
            del parent[key]
        elif kind == 'add' and isinstance(parent, dict):
            parent[draw(words)] = draw(values)
        else:
            parent[key] = [here] if kind == 'nest' else draw(values)
    return found


def npy(array: np.ndarray) -> bytes:
    """Return the file of an array."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def claiming(array: np.ndarray, shape: tuple[int, ...]) -> bytes:
    """Return the file of an array whose header claims another shape."""
    buffer = io.BytesIO()
    header = {'descr': np.lib.format.dtype_to_descr(array.dtype), 'fortran_order': False, 'shape': shape}
    np.lib.format.write_array_header_1_0(buffer, header)
    return buffer.getvalue() + array.tobytes()


def archive(members: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """Return the archive of several files of arrays."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w', compression) as file:
        for name, content in members.items():
            file.writestr(f'{name}.npy', content)
    return buffer.getvalue()


@st.composite
def damaged_npz(draw: Callable[..., Any], content: bytes) -> bytes:
    """Return an archive whose bytes are damaged, or whose arrays are missing, swapped or have other types or shapes."""
    kind = draw(
        st.sampled_from(['bytes', 'missing', 'swapped', 'type', 'shape', 'claim', 'values', 'cut', 'compressed'])
    )
    if kind == 'bytes':
        return draw(damaged(content))
    with np.load(io.BytesIO(content)) as file:
        arrays = {name: file[name] for name in file.files}
    members = {name: npy(array) for name, array in arrays.items()}
    name, other = (draw(st.sampled_from(sorted(arrays))) for _ in range(2))
    array = arrays[name]
    if kind == 'missing':
        del members[name]
    elif kind == 'swapped':
        members[name], members[other] = members[other], members[name]
    elif kind == 'type':
        dtype = draw(st.sampled_from(['i1', 'u8', 'f2', 'c16', 'U3', 'S2', 'M8[s]', '?', 'V3']))
        members[name] = npy(np.zeros(array.shape, dtype))
    elif kind == 'shape':
        shape = draw(
            st.sampled_from([(), (0,), (1,), (3, 0), (*array.shape, 1), array.shape[::-1], array.shape[1:], (7,)])
        )
        members[name] = npy(np.zeros(shape, array.dtype))
    elif kind == 'claim':
        shape = draw(st.sampled_from([(2**40,), (2**62, 4), (-1,), (10**18, 10**18), (2**33, 3)]))
        members[name] = claiming(array, shape)
    elif kind == 'values':
        value = draw(st.sampled_from([np.nan, np.inf, -1, 10**6, -(2**40)]))
        with np.errstate(invalid='ignore'):
            members[name] = npy(np.full(array.shape, value).astype(array.dtype))
    elif kind == 'cut':
        members[name] = members[name][: draw(st.integers(0, len(members[name])))]
    return archive(members, zipfile.ZIP_DEFLATED if kind == 'compressed' else zipfile.ZIP_STORED)
