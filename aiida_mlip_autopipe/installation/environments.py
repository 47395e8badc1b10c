"""The environments of calculators on this machine, and the images that are built on it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from urllib.parse import unquote, urlparse

from aiida_mlip_autopipe import __version__
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.exploration import CALCULATORS

PACKAGE = 'aiida-mlip-autopipe'
CHECKOUT = Path(__file__).parents[2]
GPAW_CONFIG = Path(__file__).with_name('gpaw_siteconfig.py')


def installed_version(kind: str) -> str | None:
    """Return the version of a calculator's package in this environment; None if it is not installed."""
    try:
        return version(CALCULATORS.load(kind).package)
    except (PackageNotFoundError, AttributeError):
        return None


def install_environment(
    kind: str, folder: Path | None = None, requirement: str | None = None, constraint: Path | None = None
) -> Path:
    """Create or update a virtual environment with a calculator, and return its interpreter.

    Parameters
    ----------
    kind
        The calculator.
    folder
        The folder of the environment; by default ``~/.local/share/mlip-autopipe/KIND``.
    requirement
        The requirement that pip installs, for example a wheel; by default the source or the version of this package.
    constraint
        The constraints file of pip; by default that of the checkout, if this package runs from one.

    Raises
    ------
    AutopipeError
        If the environment cannot be created or pip fails; the message contains the last line of the output.
    """
    extra = CALCULATORS.load(kind).extra
    data = Path(os.environ.get('XDG_DATA_HOME') or Path.home() / '.local' / 'share')
    folder = folder or data / 'mlip-autopipe' / kind
    python = folder / 'bin' / 'python'
    source = requirement or _this_package()
    if constraint is None:
        file = CHECKOUT / ('constraints-mace.txt' if kind == 'mace' else 'constraints.txt')
        constraint = file if file.is_file() else None
    if not python.is_file():
        _run([sys.executable, '-m', 'venv', str(folder)], f'cannot create the environment {folder}')
    package = f'{source}[{extra}]' if extra else source
    options = ['--constraint', str(constraint)] if constraint else []
    hint = '; building GPAW requires libxc and OpenBLAS (Debian: libxc-dev, libopenblas-dev)' if kind == 'gpaw' else ''
    _run([str(python), '-m', 'pip', 'install', '--quiet', *options, package], f'pip cannot install {package}', hint)
    return python


def build_image(kind: str, options: Sequence[str]) -> None:
    """Build the image of a calculator with ``containers/build.sh`` of the checkout that this package runs from.

    Raises
    ------
    AutopipeError
        If this package is not installed from a checkout, or the image cannot be built; the script prints the reason.
    """
    script = CHECKOUT / 'containers' / 'build.sh'
    if not script.is_file():
        raise AutopipeError(
            Code.CHECKOUT_MISSING,
            'images are built from a checkout of the project, but this package was not installed from one; '
            f"check out version {__version__} and run 'containers/build.sh {kind}' there",
        )
    name = 'base' if kind == 'emt' else kind
    if subprocess.run([script, name, *options], check=False).returncode:
        raise AutopipeError(Code.INSTALLATION_FAILED, f'the image of {kind} cannot be built; see the output above')


def _this_package() -> str:
    """Return the requirement with which pip installs this package: its source, or its version."""
    text = distribution(PACKAGE).read_text('direct_url.json')
    url = urlparse(json.loads(text)['url']) if text else None
    if url is not None and url.scheme == 'file' and Path(unquote(url.path)).exists():
        return unquote(url.path)
    return f'{PACKAGE}=={__version__}'


def _run(command: list[str], failure: str, hint: str = '') -> None:
    # Only the build of GPAW reads this variable.
    variables = {'GPAW_CONFIG': str(GPAW_CONFIG), **os.environ}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=variables)
    if done.returncode:
        last = ((done.stderr or done.stdout).strip().splitlines() or ['no output'])[-1]
        raise AutopipeError(Code.INSTALLATION_FAILED, f'{failure}: {last}{hint}')
