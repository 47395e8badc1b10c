"""The environment record: the software, device and number of threads on which the results of a job depend."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.jobs.allocated import allocated_threads
from aiida_mlip_autopipe.jobs.version import RUNNER_VERSION

if TYPE_CHECKING:
    from aiida_mlip_autopipe.calculators.base import CalculatorLoader

ENVIRONMENT_VERSION = 1


class Environment(Settings):
    """Everything on which the results of a job depend, except its inputs."""

    schema_version: int = ENVIRONMENT_VERSION
    """Version of this record."""
    runner_version: str
    """Version of the runner."""
    calculator: str | None = None
    """Version of the package of the calculator; None if it has none."""
    torch: str | None = None
    """Version of torch, if the calculator may use it."""
    ase: str
    """Version of ASE."""
    numpy: str
    """Version of NumPy."""
    scipy: str
    """Version of SciPy."""
    sources: dict[str, str] = Field(default_factory=dict)
    """sha256 of user code by name: the module of a ``custom`` calculator and its ``extra_sources``."""
    device: str | None = None
    """``cpu`` or ``cuda``; None if no calculator is loaded."""
    threads: int
    """Threads of the numerical libraries."""

    @property
    def identity(self) -> str:
        """Identity of the record, as in dataset rows: ``env-`` and 16 hexadecimal digits."""
        content = json.dumps(self.model_dump(mode='json'), sort_keys=True)
        return f'env-{hashlib.sha256(content.encode()).hexdigest()[:16]}'

    def without_calculator(self) -> Environment:
        """Return the record of a job that loads no calculator."""
        return self.model_copy(update={'calculator': None, 'torch': None, 'device': None, 'sources': {}})


@dataclass(frozen=True)
class Difference:
    """A difference between two records.

    Attributes
    ----------
    name
        The field or source.
    expected, found
        The two values; None if a record has no value.
    """

    name: str
    expected: Any
    found: Any

    def __str__(self) -> str:
        return f'{self.name} is {_show(self.found)}, but the self-test found {_show(self.expected)}'

    @property
    def shown(self) -> str:
        """The two values with an arrow between them, such as ``3.28.0 -> 3.29.0``."""
        return f'{_show(self.expected)} -> {_show(self.found)}'


class SourceNotFoundError(AutopipeError):
    """A module or file that the user has named but that does not exist."""


def read_environment(loader: CalculatorLoader | None = None, device: str | None = None) -> Environment:
    """Return the record of this process without importing the calculator.

    Parameters
    ----------
    loader
        The calculator; None for a job without a calculator.
    device
        The device of the calculator; None if it is not loaded.

    Raises
    ------
    SourceNotFoundError
        If a source of the calculator does not exist.
    """
    return Environment(
        runner_version=RUNNER_VERSION,
        calculator=None if loader is None else loader.version(),
        torch=_version_of('torch') if loader is not None and loader.uses_torch else None,
        ase=version('ase'),
        numpy=version('numpy'),
        scipy=version('scipy'),
        sources={} if loader is None else {name: source_sha256(name) for name in loader.sources()},
        device=device,
        threads=allocated_threads(os.environ),
    )


def compare_environments(expected: Environment, found: Environment) -> list[Difference]:
    """Return the differences between two records. The device is ignored if it is not yet known."""
    names = set(type(expected).model_fields) - {'sources'} - ({'device'} if found.device is None else set())
    pairs = [(name, getattr(expected, name), getattr(found, name)) for name in sorted(names)]
    for source in sorted({*expected.sources, *found.sources}):
        pairs.append((f'source {source}', expected.sources.get(source), found.sources.get(source)))
    return [Difference(*pair) for pair in pairs if pair[1] != pair[2]]


def environment_key(calculator: Mapping[str, Any]) -> str:
    """Return the key of a calculator's record on a code: its kind, the sources that the user names, and its members.

    Parameters
    ----------
    calculator
        Settings of the calculator, as JSON.
    """
    named = [calculator.get('calculator'), calculator.get('distribution'), *(calculator.get('extra_sources') or ())]
    members = [environment_key(member) for member in calculator.get('members') or ()]
    return ' '.join([str(calculator['kind']), *(str(name) for name in named if name), *members])


def self_test_command(code: str) -> str:
    """Return the command that updates the environment record of a code, ``label@computer``."""
    return f'mlip-autopipe calculator test {code}'


def source_sha256(name: str) -> str:
    """Return the sha256 of a source: a file, a module, or all Python files of a package.

    Parameters
    ----------
    name
        A path, which contains a ``/``, or the name of a module. The module is found in the same way as in Python, but
        without importing it.

    Raises
    ------
    SourceNotFoundError
        If the source does not exist.
    """
    digest = hashlib.sha256()
    if '/' in name:
        root = Path(name).expanduser()
        files = sorted(root.rglob('*.py')) if root.is_dir() else [root]
    else:
        spec = _find_module(name)
        locations = list(spec.submodule_search_locations or ())
        root = Path(locations[0] if locations else str(spec.origin))
        files = sorted(root.rglob('*.py')) if locations else [root]
    for file in files:
        if not file.is_file():
            raise SourceNotFoundError(Code.FILE_MISSING, f'the file {file}, a source of the calculator, does not exist')
        if file != root:
            digest.update(f'{file.relative_to(root)}\0'.encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _find_module(name: str) -> ModuleSpec:
    """Find a module without importing its parents, unlike `importlib.util.find_spec`."""
    first, *others = _prefixes(name)
    spec = find_spec(first)
    for part in others:
        locations = None if spec is None else spec.submodule_search_locations
        spec = None if locations is None else PathFinder.find_spec(part, list(locations))
    if spec is None:
        raise SourceNotFoundError(
            Code.CALCULATOR_MISSING, f'the calculator cannot be imported: the module {name!r} does not exist'
        )
    return spec


def _prefixes(name: str) -> Iterator[str]:
    """Yield ``a``, ``a.b`` and ``a.b.c`` of ``a.b.c``."""
    parts = name.split('.')
    for end in range(1, len(parts) + 1):
        yield '.'.join(parts[:end])


def _version_of(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _show(value: Any) -> str:
    if value is None:
        return 'none'
    return f'{value[:12]}…' if isinstance(value, str) and len(value) == 64 else str(value)
