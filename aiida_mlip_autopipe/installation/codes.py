"""The codes that run calculators, with the results of their self-tests, and the computer ``localhost``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from aiida import orm
from aiida.common import timezone
from aiida.common.exceptions import NotExistent
from aiida.manage import get_manager
from aiida.manage.configuration import get_config

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.jobs.contract import JOB_FILE
from aiida_mlip_autopipe.jobs.environment import Environment, environment_key

LOCAL_COMPUTER = 'localhost'
RUNNER = ('-m', 'aiida_mlip_autopipe.exploration')

IMAGE_SHA256 = 'mlip_autopipe_image_sha256'
"""Extra of a code: the sha256 of its image when it was registered."""
SELF_TEST = 'mlip_autopipe_self_test'
"""Extra of a code: the result of its last self-test."""
ENVIRONMENTS = 'mlip_autopipe_environments'
"""Extra of a code: the records of its environment and the settings of the self-tests, by `environment_key`."""
TESTED_MODELS = 'mlip_autopipe_models'
"""Extra of a code: the models that its self-tests loaded, by sha256."""

RECORDED = 'recorded'
"""Key in these extras: the time of the self-test. The times give the order, which a database does not preserve."""


def code_label(kind: str) -> str:
    """Return the label of the code that runs a calculator."""
    return f'autopipe-{kind}'


def ensure_computer() -> tuple[orm.Computer, bool]:
    """Return the computer ``localhost`` and whether it was set up now. A configured one is not changed.

    An archive that was imported before may have brought the ``localhost`` of another machine, which is not configured.
    """
    profile = get_manager().get_profile()
    assert profile is not None
    work_folder = str(Path(get_config().dirpath) / 'scratch' / profile.name)
    try:
        computer = orm.load_computer(LOCAL_COMPUTER)
    except NotExistent:
        computer = orm.Computer(
            label=LOCAL_COMPUTER,
            hostname=LOCAL_COMPUTER,
            description='This machine',
            transport_type='core.local',
            scheduler_type='core.direct',
            workdir=work_folder,
        ).store()
    else:
        if computer.is_configured or computer.transport_type != 'core.local':
            return computer, False
        computer.set_workdir(work_folder)
    computer.configure(safe_interval=0)
    computer.set_minimum_job_poll_interval(1)
    computer.set_default_mpiprocs_per_machine(1)
    return computer, True


def ensure_code(computer: orm.Computer, kind: str, python: str = sys.executable) -> tuple[orm.InstalledCode, str]:
    """Return the code of a calculator; create or replace it if needed.

    Parameters
    ----------
    computer
        The computer that it runs on.
    kind
        The calculator.
    python
        The interpreter of an environment with this package and the calculator.

    Returns
    -------
    tuple
        The code, and whether it was ``found``, ``created`` or ``replaced``. A code that is replaced gets another label
        and is not deleted, because finished campaigns refer to it.
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
    """Run the self-test of a calculator in an environment and return its result.

    Parameters
    ----------
    kind
        The calculator.
    python
        The interpreter of the environment.
    model
        The model to load, for a calculator that ships no model; without it, the test only checks that the package
        is installed.

    Raises
    ------
    AutopipeError
        If it fails; the message contains the reason.
    """
    return _run_test(self_test_settings(kind, model), [python], python)


def self_test_settings(kind: str, model: str | None = None) -> dict[str, Any]:
    """Return the settings of a calculator for its self-test."""
    return {'kind': kind} | ({'model': model} if model else {})


def self_test(calculator: dict[str, Any], code: orm.AbstractCode) -> dict[str, Any]:
    """Run the self-test of a calculator with a local code, started like its jobs, and return its result.

    Raises
    ------
    AutopipeError
        If it fails; the message contains the reason.
    """
    with TemporaryDirectory() as folder:
        return _run_test(calculator, _start_command(code), code.full_label, folder)


def read_code_environment(code: orm.AbstractCode, calculator: dict[str, Any]) -> Environment:
    """Return the current environment record of a local code. No calculator is loaded, so the record lacks the device.

    Parameters
    ----------
    code
        The code.
    calculator
        Settings of the calculator; empty for a job without a calculator.

    Raises
    ------
    AutopipeError
        If the code does not run, or a module in the settings does not exist.
    """
    # Run in an empty folder, because a job cannot import modules from the user's working directory either.
    with TemporaryDirectory() as folder:
        done = _run([*_start_command(code), *RUNNER, '--environment', json.dumps(calculator)], code.full_label, folder)
    try:
        return Environment.model_validate_json(done.stdout)
    except ValueError as error:
        raise AutopipeError(
            Code.CODE_BROKEN, f'the environment of {code.full_label} cannot be read: {_last_line(done)}'
        ) from error


def run_local_job(code: orm.AbstractCode | str, package: str, folder: Path, threads: int | None = None) -> str:
    """Run a job in a folder with a local code, and return the last line that it printed to stderr.

    Parameters
    ----------
    code
        The code, or the path of an interpreter.
    package
        The package that runs the job, such as ``aiida_mlip_autopipe.labelling``.
    folder
        The folder with ``job.json``.
    threads
        Number of threads of the numerical libraries; by default, that of this environment.

    Raises
    ------
    AutopipeError
        If the interpreter of the code does not start.
    """
    start, where = ([code], code) if isinstance(code, str) else (_start_command(code), code.full_label)
    environ = None if threads is None else {**os.environ, 'OMP_NUM_THREADS': str(threads)}
    return _last_line(_run([*start, '-m', package, JOB_FILE], where, str(folder), environ))


def is_local(code: orm.AbstractCode) -> bool:
    """Return whether the environment of a code is on this machine, so that it can be read at any time."""
    return code.computer.transport_type == 'core.local' and not isinstance(code, orm.ContainerizedCode)


def store_self_test(
    code: orm.AbstractCode, calculator: dict[str, Any], report: dict[str, Any], resources: dict[str, Any] | None = None
) -> None:
    """Store the result of a self-test, and the resources that it used, on the code."""
    code.base.extras.set(SELF_TEST, report)
    for one in (report, *report.get('members', ())):
        if one.get('model_sha256'):
            tested = {name: one[name] for name in ('elements', 'cutoff_A')}
            tested |= {'name': one['model_name'], 'shipped': one['model_is_shipped'], 'versions': one['versions']}
            tested[RECORDED] = timezone.now().isoformat()
            code.base.extras.set(TESTED_MODELS, {**read_tested_models(code), one['model_sha256']: tested})
    test = {'environment': report['environment'], 'calculator': calculator, 'resources': resources or {}}
    test[RECORDED] = timezone.now().isoformat()
    stored = code.base.extras.get(ENVIRONMENTS, {})
    code.base.extras.set(ENVIRONMENTS, {**stored, environment_key(calculator): test})


def read_tested_models(code: orm.AbstractCode) -> dict[str, dict[str, Any]]:
    """Return the models that the self-tests of a code loaded, by sha256.

    Each entry has the ``name`` of the model, whether it is ``shipped``, its ``elements`` (symbols) and ``cutoff_A`` (Å)
    or None if unknown, and the ``versions`` of the package that loaded it.
    """
    found: dict[str, dict[str, Any]] = code.base.extras.get(TESTED_MODELS, {})
    return found


def store_environment(code: orm.AbstractCode, calculator: dict[str, Any], environment: Environment) -> None:
    """Replace the environment record of a code for a calculator. The code must already have one."""
    stored = code.base.extras.get(ENVIRONMENTS)
    key = environment_key(calculator)
    test = {**stored[key], 'environment': environment.model_dump(mode='json'), RECORDED: timezone.now().isoformat()}
    code.base.extras.set(ENVIRONMENTS, {**stored, key: test})


def stored_tests(code: orm.AbstractCode) -> list[dict[str, Any]]:
    """Return the self-tests of a code: the ``calculator``, ``resources`` and ``environment`` of each."""
    return list(code.base.extras.get(ENVIRONMENTS, {}).values())


def stored_environment(code: orm.AbstractCode, calculator: dict[str, Any]) -> Environment | None:
    """Return the environment record of a code for a calculator; None if none is stored.

    If the settings of the calculator are empty, the newest record of the code is returned.
    """
    stored = code.base.extras.get(ENVIRONMENTS, {})
    newest = max(stored.values(), key=lambda test: test[RECORDED], default=None)
    test = stored.get(environment_key(calculator)) if calculator else newest
    return None if test is None else Environment.model_validate(test['environment'])


def _start_command(code: orm.AbstractCode) -> list[str]:
    """Return the command that runs the prepended lines of a local code and then starts its interpreter."""
    lines = '\n'.join(['{', ':', code.computer.get_prepend_text(), code.prepend_text, '} >&2', 'exec "$@"'])
    return ['bash', '-c', lines, 'bash', str(code.filepath_executable)]


def _run_test(calculator: dict[str, Any], start: list[str], where: str, folder: str | None = None) -> dict[str, Any]:
    done = _run([*start, *RUNNER, '--self-test', json.dumps(calculator)], where, folder)
    try:
        report: dict[str, Any] = json.loads(done.stdout)
    except json.JSONDecodeError:
        report = {'ok': False, 'message': _last_line(done)}
    if not report['ok']:
        raise AutopipeError(
            Code.SELF_TEST_FAILED,
            f'the self-test of the calculator {calculator["kind"]!r} failed with {where}: {report["message"]}',
        )
    return report


def _run(
    command: list[str], where: str, folder: str | None, environ: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    # PYTHONPATH is inherited, as in jobs on this machine.
    try:
        return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)
    except OSError as error:
        raise AutopipeError(Code.CODE_BROKEN, f'the interpreter {where} does not start: {error.strerror}') from error


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    return (done.stderr.strip().splitlines() or ['no output'])[-1]


def describe_self_test(report: dict[str, Any]) -> str:
    """Return the result of a self-test in one line."""
    name = ' '.join(filter(None, (report['calculator'], report['calculator_version'])))
    found = f'{name}, Python {report["python"]}'
    if 'device' not in report:
        return f'{found}; {report["message"]}'
    times = f'{report["load_s"]:.1f} s to load, {report["force_call_s"]:.2f} s per force call'
    return f'{found}; on {report["device"]}: {times}'


def list_codes() -> list[tuple[orm.AbstractCode, dict[str, Any]]]:
    """Return the codes of the profile that run explorations, each with the result of its last self-test."""
    return [
        (code, code.base.extras.get(SELF_TEST, {}))
        for code in find_codes()
        if code.default_calc_job_plugin == 'mlip_autopipe.explore'
    ]


def find_codes() -> list[orm.AbstractCode]:
    """Return the codes of the profile that are not hidden, in the order of their creation."""
    # An AiiDA query for `AbstractCode` returns nodes of all types.
    query = orm.QueryBuilder().append([orm.InstalledCode, orm.ContainerizedCode, orm.PortableCode], tag='code')
    query.order_by({'code': {'id': 'asc'}})
    return [code for code in query.all(flat=True) if not code.is_hidden]
