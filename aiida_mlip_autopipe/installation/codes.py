"""The computer ``localhost`` and the codes that run a calculator on it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from aiida import orm
from aiida.common.exceptions import NotExistent
from aiida.manage import get_manager
from aiida.manage.configuration import get_config

from aiida_mlip_autopipe.errors import AutopipeError

LOCAL_COMPUTER = 'localhost'

IMAGE_SHA256 = 'mlip_autopipe_image_sha256'
"""Extra of a code: the sha256 of its image when it was registered."""
SELF_TEST = 'mlip_autopipe_self_test'
"""Extra of a code: what its self-test found."""
TESTED_MODELS = 'mlip_autopipe_models'
"""Extra of a code: the sha256 of the models that it was tried with, by their names."""


def code_label(kind: str) -> str:
    """Return the label of the code that runs a calculator in an environment of this machine."""
    return f'autopipe-{kind}'


def ensure_computer() -> tuple[orm.Computer, bool]:
    """Return the computer ``localhost`` and whether it was made; an existing one is left as it is."""
    try:
        return orm.load_computer(LOCAL_COMPUTER), False
    except NotExistent:
        pass
    profile = get_manager().get_profile()
    assert profile is not None
    computer = orm.Computer(
        label=LOCAL_COMPUTER,
        hostname=LOCAL_COMPUTER,
        description='This machine',
        transport_type='core.local',
        scheduler_type='core.direct',
        workdir=str(Path(get_config().dirpath) / 'scratch' / profile.name),
    ).store()
    computer.configure(safe_interval=0)
    computer.set_minimum_job_poll_interval(1)
    computer.set_default_mpiprocs_per_machine(1)
    return computer, True


def ensure_code(computer: orm.Computer, kind: str, python: str = sys.executable) -> tuple[orm.InstalledCode, str]:
    """Return the code of a calculator, made or replaced where needed.

    Parameters
    ----------
    computer
        Where it runs.
    kind
        The calculator.
    python
        The interpreter of the environment that has this package and the calculator.

    Returns
    -------
    tuple
        The code, and ``found``, ``created`` or ``replaced``: what was done. A code that runs another interpreter is
        kept under another label, since finished campaigns refer to it.
    """
    label, done = code_label(kind), 'created'
    try:
        code = orm.load_code(f'{label}@{computer.label}')
    except NotExistent:
        pass
    else:
        if str(code.filepath_executable) == python:
            return code, 'found'
        code.label, done = f'{label}-{code.pk}', 'replaced'
    code = orm.InstalledCode(
        label=label,
        computer=computer,
        filepath_executable=python,
        default_calc_job_plugin='mlip_autopipe.explore',
        description=f'Explorations with {kind} in a local environment',
        with_mpi=False,
    )
    return code.store(), done


def run_self_test(kind: str, python: str = sys.executable, model: str | None = None) -> dict[str, Any]:
    """Run the runner's self-test of a calculator in an environment and return what it found.

    Parameters
    ----------
    kind
        The calculator.
    python
        The interpreter of the environment.
    model
        The model to load, for a calculator without weights of its own; without one only the package is looked for.

    Raises
    ------
    AutopipeError
        If it fails; the message says why.
    """
    settings = {'kind': kind} | ({'model': model} if model else {})
    command = [python, '-m', 'aiida_mlip_autopipe.exploration', '--self-test', json.dumps(settings)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise AutopipeError(f'the interpreter {python} cannot be run: {error.strerror}') from error
    try:
        report: dict[str, Any] = json.loads(done.stdout)
    except json.JSONDecodeError:
        report = {'ok': False, 'message': (done.stderr.strip().splitlines() or ['no output'])[-1]}
    if not report['ok']:
        raise AutopipeError(f'the calculator {kind!r} does not run with {python}: {report["message"]}')
    return report


def describe_self_test(report: dict[str, Any]) -> str:
    """Return what a self-test found, in a line."""
    found = f'{report["calculator"]} {report["calculator_version"]}, Python {report["python"]}'
    if 'device' not in report:
        return f'{found}; {report["message"]}'
    speed = f'loads in {report["load_s"]:.1f} s, a force call takes {report["force_call_s"]:.2f} s'
    return f'{found}; on {report["device"]} it {speed}'


def list_codes() -> list[tuple[orm.AbstractCode, dict[str, Any]]]:
    """Return the codes of the profile that run explorations, each with what its last self-test found."""
    return [
        (code, code.base.extras.get(SELF_TEST, {}))
        for code in find_codes()
        if code.default_calc_job_plugin == 'mlip_autopipe.explore'
    ]


def find_codes() -> list[orm.AbstractCode]:
    """Return the codes of the profile, in the order they were made, without those that were set aside."""
    # AiiDA's query for `AbstractCode` finds nodes of all kinds.
    query = orm.QueryBuilder().append([orm.InstalledCode, orm.ContainerizedCode, orm.PortableCode], tag='code')
    query.order_by({'code': {'id': 'asc'}})
    return [code for code in query.all(flat=True) if not code.is_hidden]
