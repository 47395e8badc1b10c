"""The wheel, built once, and a clean environment with it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='session')
def run_command() -> Callable[..., str]:
    """Return a function that runs a command and returns its output; a failure shows both streams."""
    return _run


def _run(*command: str | Path, folder: Path) -> str:
    done = subprocess.run([str(word) for word in command], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f'{command} ended with {done.returncode}\n{done.stdout}\n{done.stderr}'
    return done.stdout


@pytest.fixture(scope='session')
def root() -> Path:
    return ROOT


@pytest.fixture(scope='session')
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('dist')
    _run(sys.executable, '-m', 'build', '--wheel', '--outdir', folder, folder=ROOT)
    (path,) = folder.glob('*.whl')
    return path


@pytest.fixture(scope='session')
def clean_programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the bin folder of an environment with the wheel and its base dependencies: no extra, no torch."""
    folder = tmp_path_factory.mktemp('clean')
    _run(sys.executable, '-m', 'venv', folder / 'venv', folder=folder)
    programs = folder / 'venv' / 'bin'
    _run(programs / 'pip', 'install', '-qq', '--constraint', ROOT / 'constraints.txt', wheel, folder=folder)
    return programs
