from __future__ import annotations

import re
from importlib.metadata import EntryPoint, distribution
from pathlib import Path

import pytest
from ase.utils.plugins import ExternalIOFormat

import aiida_mlip_autopipe

INSTALLED = distribution('aiida-mlip-autopipe').entry_points
PLUGINS = [point for point in INSTALLED if point.group != 'console_scripts']


def test_the_newest_version_in_the_changelog_is_that_of_the_package(root: Path) -> None:
    versions = re.findall(r'^## \[(\d\S*)\]', (root / 'CHANGELOG.md').read_text(), flags=re.MULTILINE)
    assert versions[0] == aiida_mlip_autopipe.__version__


@pytest.mark.parametrize('point', PLUGINS, ids=lambda point: f'{point.group}:{point.name}')
def test_an_entry_point_loads(point: EntryPoint) -> None:
    loaded = point.load()
    # ASE expects the description of a format; the other entry points are classes or functions.
    assert isinstance(loaded, ExternalIOFormat) if point.group == 'ase.ioformats' else callable(loaded)


def test_the_command_is_installed() -> None:
    (point,) = (point for point in INSTALLED if point.group == 'console_scripts')
    assert point.name == 'mlip-autopipe'
    assert callable(point.load())


@pytest.mark.parametrize('name', ['constraints.txt', 'constraints-mace.txt'])
def test_constraints_are_exact_versions(name: str, root: Path) -> None:
    lines = [line for line in (root / name).read_text().splitlines() if not line.startswith('#')]
    assert [line for line in lines if not re.fullmatch(r'[A-Za-z0-9._-]+==[A-Za-z0-9.]+', line)] == []
