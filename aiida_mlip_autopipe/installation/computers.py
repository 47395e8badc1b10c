"""Add, configure and test the computers on which jobs run, and explain the errors of a test."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from aiida import orm
from aiida.common.exceptions import NotExistent

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError

SCHEDULERS = ('slurm', 'pbspro', 'torque', 'sge', 'lsf', 'direct')
LOCAL_HOSTS = ('localhost', '127.0.0.1')
# Jobs write to the folder in the first of these variables that the computer sets.
WORK_VARIABLES = ('SCRATCH', 'WORK', 'HOME')


@dataclass(frozen=True)
class Site:
    """The settings of a computer.

    Attributes
    ----------
    label
        The label in AiiDA.
    host
        The host as in ``ssh HOST``, for example from ``~/.ssh/config``; ``localhost`` for this machine.
    scheduler
        One of `SCHEDULERS`.
    workdir
        The folder in which each job creates its own folder; None for ``mlip-autopipe`` in the first of ``$SCRATCH``,
        ``$WORK`` and ``$HOME`` that the computer sets.
    poll_interval_s
        Minimum time between two queries of the scheduler, in seconds.
    connection_interval_s
        Minimum time between two connections, in seconds.
    """

    label: str
    host: str
    scheduler: str
    workdir: str | None = None
    poll_interval_s: float = 10.0
    connection_interval_s: float = 5.0


def load_computer(label: str) -> orm.Computer:
    """Return a configured computer.

    Raises
    ------
    AutopipeError
        If it does not exist (the message lists the existing ones) or is not configured.
    """
    try:
        computer = orm.load_computer(label)
    except NotExistent as error:
        known = sorted(orm.QueryBuilder().append(orm.Computer, project='label').all(flat=True))
        hint = f'existing computers: {", ".join(known)}' if known else 'the profile has no computers'
        raise AutopipeError(
            Code.COMPUTER_MISSING,
            f"the computer {label!r} does not exist; {hint}; add it with 'mlip-autopipe computer add {label}'",
        ) from error
    if not computer.is_configured:
        raise AutopipeError(
            Code.COMPUTER_MISSING, f"the computer {label!r} is not configured; use 'verdi computer configure'"
        )
    return computer


def home_folder(transport: orm.Computer) -> str:
    """Return the home directory of the user on a computer; the transport must be open."""
    return str(transport.exec_command_wait('echo "$HOME"')[1].split()[-1])


def absolute_path(computer: orm.Computer, path: str) -> str:
    """Return a path on a computer as an absolute path; ``~/x`` and ``x`` are relative to the user's home there."""
    if path.startswith('/'):
        return path
    with computer.get_transport() as transport:
        return str(PurePosixPath(home_folder(transport), path.removeprefix('~/')))


def add_computer(site: Site) -> tuple[orm.Computer, list[AutopipeError]]:
    """Create a computer, or update the settings of an existing one, and test it.

    Parameters
    ----------
    site
        Its settings.

    Returns
    -------
    tuple
        The computer, and an error for each failed test. A new computer that fails a test is deleted.

    Raises
    ------
    AutopipeError
        If the scheduler is unknown, or the label belongs to a computer with another host or scheduler.
    """
    if site.scheduler not in SCHEDULERS:
        raise AutopipeError(
            Code.CHOICE_UNKNOWN, f'unknown scheduler {site.scheduler!r}; use one of {", ".join(SCHEDULERS)}'
        )
    computer, created = _find_or_create(site)
    _configure(computer, site)
    errors = list(_test_computer(computer, site))
    if errors and created:
        orm.Computer.collection.delete(computer.pk)
    return computer, errors


def _find_or_create(site: Site) -> tuple[orm.Computer, bool]:
    transport = 'core.local' if site.host in LOCAL_HOSTS else 'core.ssh_async'
    scheduler = f'core.{site.scheduler}'
    try:
        computer = orm.load_computer(site.label)
    except NotExistent:
        about = {'hostname': site.host, 'transport_type': transport, 'scheduler_type': scheduler}
        return orm.Computer(label=site.label, workdir=site.workdir or '/', **about).store(), True
    found = (computer.hostname, computer.transport_type, computer.scheduler_type)
    if found != (site.host, transport, scheduler):
        raise AutopipeError(
            Code.COMPUTER_EXISTS,
            f'the computer {site.label!r} already exists with {", ".join(found)}; choose another name, or delete it '
            f"with 'verdi computer delete {site.label}'",
        )
    return computer, False


def _configure(computer: orm.Computer, site: Site) -> None:
    options: dict[str, Any] = {'safe_interval': site.connection_interval_s, 'use_login_shell': True}
    if computer.transport_type == 'core.ssh_async':
        options |= {'host': site.host, 'max_io_allowed': 8, 'backend': 'asyncssh'}
    computer.configure(**options)
    computer.set_minimum_job_poll_interval(site.poll_interval_s)
    computer.set_default_mpiprocs_per_machine(1)
    computer.set_shebang('#!/bin/bash')
    # The arguments of an image include $PWD, which the shell does not expand within single quotes.
    computer.set_use_double_quotes(True)


def _test_computer(computer: orm.Computer, site: Site) -> Iterator[AutopipeError]:
    """Create the work directory, run AiiDA's tests of a computer, and yield an error for each failure."""
    from aiida_mlip_autopipe.aiida_internals import check_computer

    authinfo = computer.get_authinfo(orm.User.collection.get_default())
    try:
        with authinfo.get_transport() as transport:
            workdir = site.workdir or _guess_workdir(transport)
            computer.set_workdir(workdir)
            if (fault := _create_workdir(transport, workdir)) is not None:
                yield fault
            scheduler = computer.get_scheduler()
            scheduler.set_transport(transport)
            for passed, message in check_computer(computer, transport, scheduler, authinfo):
                if not passed:
                    yield error_from_message(message, site)
    except Exception as error:
        yield error_from_message(f'{type(error).__name__}: {error}', site)


def _guess_workdir(transport: orm.Computer) -> str:
    variables = ' '.join(f'"${name}"' for name in WORK_VARIABLES)
    _, output, _ = transport.exec_command_wait(f"printf '%s\\n' {variables}")
    folder = next(line for line in output.splitlines() if line.startswith('/'))
    return f'{folder}/mlip-autopipe'


def _create_workdir(transport: orm.Computer, workdir: str) -> AutopipeError | None:
    path = workdir.format(username=transport.whoami())
    try:
        transport.makedirs(path, ignore_existing=True)
    except Exception as error:  # each transport raises its own errors
        return AutopipeError(
            Code.WORKDIR_UNWRITABLE,
            f'the work directory {path} cannot be created: {error}; choose another with --workdir',
        )
    return None


def error_from_message(message: str, site: Site) -> AutopipeError:
    """Return an error that explains the message of a failed test and says what to do.

    Parameters
    ----------
    message
        The message of AiiDA, SSH or the scheduler.
    site
        The computer.
    """
    ssh = f"'ssh {site.host}' must work without a password"
    meanings = (
        (
            Code.HOST_UNKNOWN,
            'name or service not known|nodename nor servname|could not resolve|name resolution',
            f'the host name {site.host} is unknown: add a Host entry for it to ~/.ssh/config; {ssh}',
        ),
        (
            Code.HOST_KEY_UNKNOWN,
            'host key',
            f'the host key of {site.host} is unknown: run `ssh {site.host}` once and accept it',
        ),
        (
            Code.LOGIN_REFUSED,
            'permission denied|authentication|no supported|private key',
            f'{site.host} refused the login: copy your public key to it; {ssh}',
        ),
        (
            Code.HOST_UNREACHABLE,
            'refused|connect call failed',
            f'no SSH server listens on {site.host}: check HostName and Port in ~/.ssh/config',
        ),
        (
            Code.HOST_UNREACHABLE,
            'timed out|timeout|no route',
            f'{site.host} does not respond: it may be down, or require a VPN',
        ),
        (
            Code.SCHEDULER_MISSING,
            'command not found|not found',
            f'{site.host} does not have the commands of {site.scheduler}: check which scheduler it uses; '
            'if the commands need a module, load it in ~/.bash_profile there',
        ),
        (
            Code.LOGIN_OUTPUT,
            'unexpected|spurious|output',
            f'the login scripts of {site.host} print text, which AiiDA cannot distinguish from the output of commands: '
            'change ~/.bashrc there so that it prints in interactive shells only',
        ),
    )
    reported = ' '.join(message.split())
    for code, pattern, meaning in meanings:
        if re.search(pattern, message, re.IGNORECASE):
            return AutopipeError(code, f'{meaning} (reported: {reported})')
    return AutopipeError(Code.COMPUTER_TEST_FAILED, reported)
