"""Computers that jobs run on: written with what suits a site, tested, and what is wrong said in plain words."""

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
# The first of these that is set on the computer, as clusters do, is where jobs write.
WORK_VARIABLES = ('SCRATCH', 'WORK', 'HOME')


@dataclass(frozen=True)
class Site:
    """What a person says of a computer.

    Attributes
    ----------
    label
        Its name in AiiDA.
    host
        As in ``ssh HOST``, an entry of ``~/.ssh/config``; ``localhost`` for this machine.
    scheduler
        One of `SCHEDULERS`.
    workdir
        Where jobs write, a folder of each job's own below it; None for ``$SCRATCH``, ``$WORK`` or the home there.
    poll_interval_s
        How often the scheduler is asked at most.
    connection_interval_s
        How often a connection is opened at most.
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
        If there is none; the message says which there are.
    """
    try:
        computer = orm.load_computer(label)
    except NotExistent as error:
        known = sorted(orm.QueryBuilder().append(orm.Computer, project='label').all(flat=True))
        hint = f'there are {", ".join(known)}' if known else 'there is none'
        raise AutopipeError(
            Code.COMPUTER_MISSING, f"no computer {label!r}, {hint}; 'mlip-autopipe computer add {label}' makes it"
        ) from error
    if not computer.is_configured:
        raise AutopipeError(
            Code.COMPUTER_MISSING, f"the computer {label!r} is not configured; 'verdi computer configure' does it"
        )
    return computer


def home_folder(transport: orm.Computer) -> str:
    """Return the user's home on a computer, through an open connection to it."""
    return str(transport.exec_command_wait('echo "$HOME"')[1].split()[-1])


def absolute_path(computer: orm.Computer, path: str) -> str:
    """Return a path on a computer as an absolute one: ``~/x`` and ``x`` lie in the user's home there."""
    if path.startswith('/'):
        return path
    with computer.get_transport() as transport:
        return str(PurePosixPath(home_folder(transport), path.removeprefix('~/')))


def add_computer(site: Site) -> tuple[orm.Computer, list[AutopipeError]]:
    """Make a computer, or write one anew, and test it.

    Parameters
    ----------
    site
        What is known of it.

    Returns
    -------
    tuple
        The computer, and an error for each failed test. A new computer that fails a test is deleted again.

    Raises
    ------
    AutopipeError
        If the scheduler is not known, or a computer of this name is another machine.
    """
    if site.scheduler not in SCHEDULERS:
        raise AutopipeError(
            Code.CHOICE_UNKNOWN, f'the scheduler {site.scheduler!r} is not known; there are {", ".join(SCHEDULERS)}'
        )
    computer, created = _find_or_make(site)
    _configure(computer, site)
    troubles = list(_find_troubles(computer, site))
    if troubles and created:
        orm.Computer.collection.delete(computer.pk)
    return computer, troubles


def _find_or_make(site: Site) -> tuple[orm.Computer, bool]:
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
            f'there is a computer {site.label!r} already, with {", ".join(found)}: choose another name, or delete it '
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
    # An image is entered with $PWD among its arguments, which single quotes would keep as it is.
    computer.set_use_double_quotes(True)


def _find_troubles(computer: orm.Computer, site: Site) -> Iterator[AutopipeError]:
    """Yield what AiiDA's own tests of a computer find, and what the work directory lacks."""
    from aiida_mlip_autopipe.aiida_internals import check_computer

    authinfo = computer.get_authinfo(orm.User.collection.get_default())
    try:
        with authinfo.get_transport() as transport:
            workdir = site.workdir or _guess_workdir(transport)
            computer.set_workdir(workdir)
            if trouble := _try_workdir(transport, workdir):
                yield trouble
            scheduler = computer.get_scheduler()
            scheduler.set_transport(transport)
            for passed, message in check_computer(computer, transport, scheduler, authinfo):
                if not passed:
                    yield explain(message, site)
    except Exception as error:
        yield explain(f'{type(error).__name__}: {error}', site)


def _guess_workdir(transport: orm.Computer) -> str:
    variables = ' '.join(f'"${name}"' for name in WORK_VARIABLES)
    _, output, _ = transport.exec_command_wait(f"printf '%s\\n' {variables}")
    folder = next(line for line in output.splitlines() if line.startswith('/'))
    return f'{folder}/mlip-autopipe'


def _try_workdir(transport: orm.Computer, workdir: str) -> AutopipeError | None:
    path = workdir.format(username=transport.whoami())
    try:
        transport.makedirs(path, ignore_existing=True)
    except Exception as error:  # each transport raises its own errors
        return AutopipeError(
            Code.WORKDIR_UNWRITABLE, f'the work directory {path} cannot be made: {error}; choose another with --workdir'
        )
    return None


def explain(message: str, site: Site) -> AutopipeError:
    """Return an error that says what the message of a failed test means, and what to do.

    Parameters
    ----------
    message
        What AiiDA, SSH or the scheduler said.
    site
        The computer.
    """
    ssh = f"'ssh {site.host}' must work without a password"
    meanings = (
        (
            Code.HOST_UNKNOWN,
            'name or service not known|nodename nor servname|could not resolve|name resolution',
            f'no machine answers to the name {site.host}: add a Host entry for it to ~/.ssh/config, and {ssh}',
        ),
        (
            Code.HOST_KEY_UNKNOWN,
            'host key',
            f'the host key of {site.host} is not known here: run `ssh {site.host}` once and accept it',
        ),
        (
            Code.LOGIN_REFUSED,
            'permission denied|authentication|no supported|private key',
            f'{site.host} lets you not in: {ssh}; copy your key there',
        ),
        (
            Code.HOST_UNREACHABLE,
            'refused|connect call failed',
            f'no SSH server listens on {site.host}: check HostName and Port in ~/.ssh/config',
        ),
        (
            Code.HOST_UNREACHABLE,
            'timed out|timeout|no route',
            f'{site.host} does not answer: is a VPN needed, or is it down?',
        ),
        (
            Code.SCHEDULER_MISSING,
            'command not found|not found',
            f'the commands of {site.scheduler} are not found on {site.host}: is it its scheduler? '
            'If they need a module, load it in ~/.bash_profile there',
        ),
        (
            Code.LOGIN_OUTPUT,
            'unexpected|spurious|output',
            f'the login scripts of {site.host} print something, which garbles what AiiDA reads: '
            'make ~/.bashrc there print only in interactive shells',
        ),
    )
    shown = ' '.join(message.split())
    for code, pattern, meaning in meanings:
        if re.search(pattern, message, re.IGNORECASE):
            return AutopipeError(code, f'{meaning} (it said: {shown})')
    return AutopipeError(Code.COMPUTER_TEST_FAILED, shown)
