"""Read NumPy's ``.npz`` and ``.npy`` files.

NumPy allocates an array of the size that a file claims, decompresses archives with any compression ratio and, if
asked, unpickles objects. The functions of this module read only what ``numpy.save`` and ``numpy.savez`` write for
arrays of numbers, Booleans and text, and compare the claimed sizes with the size of the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import IO, Any
from zipfile import ZIP_STORED, ZipFile

import numpy as np
from numpy.lib import format as npy

KINDS = {'integer': 'iu', 'float': 'f', 'Boolean': 'b', 'number': 'iufb'}
"""The kinds of arrays that `require_array` can require, with NumPy's codes of their types."""


@contextmanager
def open_npz(source: Path | IO[bytes]) -> Iterator[Mapping[str, np.ndarray]]:
    """Open an archive from ``numpy.savez``. An array is read when it is accessed.

    Parameters
    ----------
    source
        The file, or a seekable binary stream.

    Raises
    ------
    ValueError
        If the archive is damaged, is compressed, contains objects, or claims arrays larger than itself. Every other
        error in the ``with`` block, except an `OSError`, is also raised as a `ValueError`.
    """
    with _value_errors():
        with ZipFile(source) as archive:
            _check_members(archive)
        if not isinstance(source, Path):
            source.seek(0)
        with np.load(source, allow_pickle=False) as arrays:
            yield arrays


def read_npy(path: Path) -> np.ndarray:
    """Read an array from ``numpy.save``.

    Raises
    ------
    ValueError
        If the file is damaged, contains objects, or claims an array larger than itself.
    """
    with _value_errors(), path.open('rb') as file:
        _check_header(file, path.stat().st_size)
        array: np.ndarray = npy.read_array(file, allow_pickle=False)
    return array


def require_array(
    arrays: Mapping[str, np.ndarray], name: str, kind: str, *shape: int | None, finite: bool = False
) -> np.ndarray:
    """Return an array of a file, and check it.

    Parameters
    ----------
    arrays
        The arrays of the file.
    name
        Its name.
    kind
        One of `KINDS`.
    shape
        Its shape. None as a dimension allows any length.
    finite
        Whether all its values must be finite.

    Raises
    ------
    KeyError
        If the array does not exist.
    ValueError
        If its type or its shape is wrong, or a value is not finite.
    """
    array = arrays[name]
    has_shape = array.ndim == len(shape) and all(
        wanted in (None, length) for wanted, length in zip(shape, array.shape, strict=True)
    )
    if array.dtype.kind not in KINDS[kind] or not has_shape:
        wanted = ', '.join('any' if length is None else str(length) for length in shape)
        raise ValueError(
            f'the array {name!r} has type {array.dtype} and shape {array.shape}, expected {kind} and ({wanted})'
        )
    if finite and not np.isfinite(array).all():
        raise ValueError(f'the array {name!r} has values that are not finite')
    return array


@contextmanager
def _value_errors() -> Iterator[None]:
    """Raise every error except an `OSError` as a `ValueError`."""
    try:
        yield
    except (OSError, ValueError):
        raise
    except KeyError as error:
        raise ValueError(f'it has no array {error}') from error
    except Exception as error:  # the modules for archives and headers raise various errors for damaged files
        raise ValueError(str(error) or type(error).__name__) from error


def _check_members(archive: ZipFile) -> None:
    members = archive.infolist()
    if any(one.compress_type != ZIP_STORED or one.file_size != one.compress_size for one in members):
        raise ValueError('it is compressed')
    archive_size = archive.fp.seek(0, 2) if archive.fp is not None else 0
    if sum(one.file_size for one in members) > archive_size:
        raise ValueError('its arrays are larger than the file')
    for one in members:
        with archive.open(one) as file:
            _check_header(file, one.file_size)


def _check_header(file: IO[bytes], size: int) -> None:
    """Compare the header of an array with the size of its file in bytes. Rewind the file."""
    version = npy.read_magic(file)
    readers: dict[tuple[int, int], Any] = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f'an array has the unsupported format {version}')
    shape, _, dtype = readers[version](file)
    if dtype.hasobject or not dtype.itemsize:
        raise ValueError(f'an array has the unsupported type {dtype}')
    if file.tell() + prod(shape) * dtype.itemsize != size or min(shape, default=0) < 0:
        raise ValueError(f'an array of {dtype} with shape {shape} does not have the size of its file')
    file.seek(0)
