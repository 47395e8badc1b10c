"""The computer ``localhost`` and the codes that run a calculator on it."""

from __future__ import annotations

import json
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
from aiida_mlip_autopipe.jobs.environment import Environment, environment_key

LOCAL_COMPUTER = 'localhost'
RUNNER = ('-m', 'aiida_mlip_autopipe.exploration')

IMAGE_SHA256 = 'mlip_autopipe_image_sha256'
"""Extra of a code: the sha256 of its image when it was registered."""
SELF_TEST = 'mlip_autopipe_self_test'
"""Extra of a code: what its self-test found."""
ENVIRONMENTS = 'mlip_autopipe_environments'
"""Extra of a code: by `environment_key`, the record of its environment and the settings that it was tested with."""
TESTED_MODELS = 'mlip_autopipe_models'
"""Extra of a code: the models that it was tried with, by their sha256."""

RECORDED = 'recorded'
"""In these extras, the time of the self-test: a database may order what an extra holds otherwise."""


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
    return _test(self_test_settings(kind, model), [python], python)


def self_test_settings(kind: str, model: str | None = None) -> dict[str, Any]:
    """Return the settings of a calculator for its self-test."""
    return {'kind': kind} | ({'model': model} if model else {})


def self_test(calculator: dict[str, Any], code: orm.AbstractCode) -> dict[str, Any]:
    """Run the self-test of a calculator with a local code, in the same way as its jobs, and return its result.

    Raises
    ------
    AutopipeError
        If it fails; the message says why.
    """
    with TemporaryDirectory() as folder:
        return _test(calculator, _start(code), code.full_label, folder)


def ask_environment(code: orm.AbstractCode, calculator: dict[str, Any]) -> Environment:
    """Return the current environment record of a local code. No calculator is loaded, so the record lacks the device.

    Parameters
    ----------
    code
        The code.
    calculator
        Settings of the calculator; empty for a job without one.

    Raises
    ------
    AutopipeError
        If the code cannot be run, or a module that the settings name does not exist.
    """
    # Modules in the user's working directory must not be found, since they are not in a job's folder.
    with TemporaryDirectory() as folder:
        done = _run([*_start(code), *RUNNER, '--environment', json.dumps(calculator)], code.full_label, folder)
    try:
        return Environment.model_validate_json(done.stdout)
    except ValueError as error:
        raise AutopipeError(
            Code.CODE_BROKEN, f'the environment of {code.full_label} cannot be read: {_last_line(done)}'
        ) from error


def is_read_here(code: orm.AbstractCode) -> bool:
    """Return whether the environment of a code belongs to this machine, where it can be read at any time."""
    return code.computer.transport_type == 'core.local' and not isinstance(code, orm.ContainerizedCode)


def keep_self_test(
    code: orm.AbstractCode, calculator: dict[str, Any], report: dict[str, Any], resources: dict[str, Any] | None = None
) -> None:
    """Store on a code the result of the self-test of a calculator, and the resources of the test."""
    code.base.extras.set(SELF_TEST, report)
    if report.get('model_sha256'):
        tested = {name: report[name] for name in ('elements', 'cutoff_A')}
        tested |= {'name': report['model_name'], 'shipped': report['model_is_shipped'], 'versions': report['versions']}
        tested[RECORDED] = timezone.now().isoformat()
        code.base.extras.set(TESTED_MODELS, {**models_tried(code), report['model_sha256']: tested})
    test = {'environment': report['environment'], 'calculator': calculator, 'resources': resources or {}}
    test[RECORDED] = timezone.now().isoformat()
    kept = code.base.extras.get(ENVIRONMENTS, {})
    code.base.extras.set(ENVIRONMENTS, {**kept, environment_key(calculator): test})


def models_tried(code: orm.AbstractCode) -> dict[str, dict[str, Any]]:
    """Return what the self-tests of a code found about models, by their sha256.

    Each entry has the ``name``, whether it is ``shipped``, its ``elements`` (symbols) and ``cutoff_A`` (Å), None if
    unknown, and the ``versions`` of the package that loaded it.
    """
    found: dict[str, dict[str, Any]] = code.base.extras.get(TESTED_MODELS, {})
    return found


def keep_environment(code: orm.AbstractCode, calculator: dict[str, Any], environment: Environment) -> None:
    """Replace the existing environment record of a code."""
    kept = code.base.extras.get(ENVIRONMENTS)
    key = environment_key(calculator)
    test = {**kept[key], 'environment': environment.model_dump(mode='json'), RECORDED: timezone.now().isoformat()}
    code.base.extras.set(ENVIRONMENTS, {**kept, key: test})


def kept_tests(code: orm.AbstractCode) -> list[dict[str, Any]]:
    """Return the tests of a code: for each calculator its `calculator`, `resources` and `environment`."""
    return list(code.base.extras.get(ENVIRONMENTS, {}).values())


def kept_environment(code: orm.AbstractCode, calculator: dict[str, Any]) -> Environment | None:
    """Return the record of a code for a calculator; without a calculator, its newest record; None if there is none."""
    kept = code.base.extras.get(ENVIRONMENTS, {})
    newest = max(kept.values(), key=lambda test: test[RECORDED], default=None)
    test = kept.get(environment_key(calculator)) if calculator else newest
    return None if test is None else Environment.model_validate(test['environment'])


def _start(code: orm.AbstractCode) -> list[str]:
    """Return the command that starts the interpreter of a local code, after the lines that its jobs run first."""
    lines = '\n'.join(['{', ':', code.computer.get_prepend_text(), code.prepend_text, '} >&2', 'exec "$@"'])
    return ['bash', '-c', lines, 'bash', str(code.filepath_executable)]


def _test(calculator: dict[str, Any], start: list[str], where: str, folder: str | None = None) -> dict[str, Any]:
    done = _run([*start, *RUNNER, '--self-test', json.dumps(calculator)], where, folder)
    try:
        report: dict[str, Any] = json.loads(done.stdout)
    except json.JSONDecodeError:
        report = {'ok': False, 'message': _last_line(done)}
    if not report['ok']:
        raise AutopipeError(
            Code.SELF_TEST_FAILED,
            f'the calculator {calculator["kind"]!r} does not run with {where}: {report["message"]}',
        )
    return report


def _run(command: list[str], where: str, folder: str | None) -> subprocess.CompletedProcess[str]:
    # With the user's PYTHONPATH, as in jobs on this machine.
    try:
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except OSError as error:
        raise AutopipeError(Code.CODE_BROKEN, f'the interpreter {where} cannot be run: {error.strerror}') from error


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    return (done.stderr.strip().splitlines() or ['no output'])[-1]


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
