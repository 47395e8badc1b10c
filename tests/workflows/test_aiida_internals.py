"""The behaviour of AiiDA's private interfaces that this package uses.

`EagerWorkChain` is tested in `test_throttle.py`, `hash_by_attributes` in `tests/data/test_model.py`, and
killing and resuming, which need a daemon, in `tests/cli/test_campaign.py`.
"""

import ast
import asyncio
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import kiwipy
import psutil
import pytest
from aiida import orm
from aiida.brokers import ZeromqBroker
from aiida.cmdline.commands import cmd_computer
from aiida.engine import CalcJob, DaemonClient, Process, WorkChain, get_daemon_client
from aiida.engine.persistence import get_object_loader
from aiida.engine.processes.launcher import ProcessLauncher
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager
from aiida.manage.caching import get_use_cache
from plumpy.persistence import LoadSaveContext
from support.waiting import wait_for

import aiida_mlip_autopipe
from aiida_mlip_autopipe.aiida_internals import (
    check_computer,
    clean_folder,
    end_orphaned_parts,
    forget_dead_broker,
    has_live_daemon,
    has_lost_broker,
    is_marked_invalid,
    run_stored_process,
    start_daemon,
    stop_daemon,
    use_cache,
)
from aiida_mlip_autopipe.installation.codes import ensure_computer
from aiida_mlip_autopipe.installation.profile import ensure_daemon

pytestmark = pytest.mark.usefixtures('aiida_profile')


@pytest.fixture
def computer():
    return ensure_computer()[0]


class TaskQueue(kiwipy.LocalCommunicator):
    """Passes tasks to the subscriber immediately, and ignores broadcasts."""

    def broadcast_send(self, *_, **__):
        return True


class Counted(WorkChain):
    """A process that counts its runs."""

    runs = 0

    @classmethod
    def define(cls, spec):
        super().define(spec)
        spec.outline(cls.count)

    def count(self):
        type(self).runs += 1


def test_only_a_user_can_mark_a_node_as_invalid():
    unfinished = orm.CalcFunctionNode().store()
    assert not unfinished.base.caching.is_valid_cache
    assert not is_marked_invalid(unfinished)
    unfinished.base.caching.is_valid_cache = False
    assert is_marked_invalid(unfinished)


def test_a_stored_process_that_is_submitted_twice_runs_once(monkeypatch):
    monkeypatch.setattr(Counted, 'runs', 0)
    communicator = TaskQueue()
    runner = get_manager().create_runner(communicator=communicator)
    context = {'load_context': LoadSaveContext(runner=runner), 'loader': get_object_loader()}
    # A worker of the daemon handles tasks like this.
    runner.communicator.add_task_subscriber(ProcessLauncher(loop=runner.loop, persister=runner.persister, **context))
    process = instantiate_process(runner, Counted)
    runner.persister.save_checkpoint(process)
    process.close()
    run_stored_process(runner, process.pid)
    run_stored_process(runner, process.pid)

    async def until_it_has_ended():
        while not process.node.is_terminated:
            await asyncio.sleep(0.01)

    runner.run_until_complete(asyncio.wait_for(until_it_has_ended(), 30))
    assert process.node.is_finished_ok
    assert Counted.runs == 1


def test_the_cache_is_enabled_only_within_the_block_even_if_it_raises():
    identifier = 'aiida.calculations:mlip_autopipe.explore'

    def fail_in_the_block():
        with use_cache('mlip_autopipe.explore'):
            assert get_use_cache(identifier=identifier)
            assert not get_use_cache(identifier='aiida.calculations:mlip_autopipe.stash')
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_in_the_block()
    assert not get_use_cache(identifier=identifier)


def test_cleaning_empties_the_folder_and_marks_its_node(computer, tmp_path):
    (tmp_path / 'deep' / 'deeper').mkdir(parents=True)
    (tmp_path / 'deep' / 'file').touch()
    remote = orm.RemoteData(remote_path=str(tmp_path / 'deep'), computer=computer).store()
    assert not remote.is_cleaned
    with computer.get_transport() as transport:
        clean_folder(remote, transport)
    assert orm.load_node(remote.pk).is_cleaned
    assert not list(tmp_path.rglob('*/*'))


def check(computer):
    authinfo = computer.get_authinfo(orm.User.collection.get_default())
    with authinfo.get_transport() as transport:
        scheduler = computer.get_scheduler()
        scheduler.set_transport(transport)
        return list(check_computer(computer, transport, scheduler, authinfo))


def test_a_working_computer_passes_all_tests(computer):
    assert [passed for passed, _ in check(computer)] == [True] * 4


def test_a_login_script_with_output_is_detected(computer, tmp_path, monkeypatch):
    (tmp_path / '.bash_profile').write_text('echo hello\n')
    monkeypatch.setenv('HOME', str(tmp_path))
    (passed, message), *_ = check(computer)
    assert not passed
    assert 'hello' in message


def test_a_missing_scheduler_is_detected(tmp_path):
    computer = orm.Computer('without', 'localhost', '', 'core.local', 'core.lsf', str(tmp_path)).store()
    computer.configure(safe_interval=0.0)
    results = check(computer)
    assert [passed for passed, _ in results] == [True, False, True, True]
    assert 'Error' in results[1][1]


def test_the_pid_file_of_a_killed_daemon_is_ignored(aiida_profile):
    client = get_daemon_client()
    assert not has_live_daemon(aiida_profile)
    process = subprocess.Popen([sys.executable, '-c', ''])
    process.wait()
    pid_file = Path(client.circus_pid_file)
    # The first process has ended; the second runs but does not belong to AiiDA.
    for pid in (process.pid, psutil.Process().ppid()):
        pid_file.write_text(str(pid))
        assert client.is_daemon_running
        assert not has_live_daemon(aiida_profile)
    pid_file.unlink()


@pytest.mark.chaos
def test_a_pid_that_now_belongs_to_the_daemon_of_another_profile_is_left_alone(aiida_profile, tmp_path):
    """After a reboot, the pids in the files of the daemon and of the broker may belong to any process."""
    client, broker = get_daemon_client(), ZeromqBroker(aiida_profile)
    command = [sys.executable, '-c', 'import time; time.sleep(600)', '-p', 'other', 'daemon', 'start-circus']
    other = subprocess.Popen(command, env={**os.environ, 'AIIDA_PATH': str(tmp_path)})
    try:
        Path(client.circus_pid_file).write_text(str(other.pid))
        broker._service_dir.mkdir(parents=True, exist_ok=True)
        broker._service_pid_file.write_text(f'{broker._PID_SENTINEL} {other.pid}')
        (broker._service_dir / 'broker.sockets').write_text(str(tmp_path / 'sockets'))
        assert not client._is_pid_file_stale
        assert not has_live_daemon(aiida_profile)
        assert ensure_daemon()
        assert has_live_daemon(aiida_profile)
        assert client.get_daemon_pid() != other.pid
        wait_for(lambda: broker._get_service_pid() not in (None, other.pid), 60, 'the broker')
        assert other.poll() is None
    finally:
        stop_daemon(aiida_profile)
        assert other.poll() is None
        other.kill()
        other.wait()


def test_the_daemon_is_started_with_the_program_of_this_environment(aiida_profile, tmp_path, monkeypatch):
    other = tmp_path / 'verdi'
    other.write_text('#!/bin/sh\nexit 1\n')
    other.chmod(0o755)
    monkeypatch.setenv('PATH', f'{tmp_path}{os.pathsep}{os.environ["PATH"]}')
    monkeypatch.setattr('aiida.engine.daemon.client.VERDI_BIN', str(other))
    client = get_daemon_client()
    start_daemon(aiida_profile)
    try:
        daemon = psutil.Process(client.get_daemon_pid())
        commands = [process.cmdline() for process in (daemon, *daemon.children())]
        assert {command[0] for command in commands} == {sys.executable}
        assert [command for command in commands if str(other) in command] == []
        assert os.environ['PATH'].startswith(str(tmp_path))
    finally:
        client.stop_daemon(wait=True)


@pytest.mark.chaos
def test_processes_of_a_daemon_are_ended_only_if_it_was_killed(aiida_profile):
    client = get_daemon_client()
    start_daemon(aiida_profile)
    daemon = psutil.Process(client.get_daemon_pid())
    wait_for(lambda: len(daemon.children()) >= 3, 60, 'worker, broker and statistics')
    parts = daemon.children()
    assert end_orphaned_parts(aiida_profile) == 0
    daemon.kill()
    daemon.wait(30)
    assert all(part.is_running() for part in parts)
    assert not has_live_daemon(aiida_profile)
    assert end_orphaned_parts(aiida_profile) == len(parts)
    assert not any(part.is_running() and part.status() != psutil.STATUS_ZOMBIE for part in parts)
    forget_dead_broker(aiida_profile)
    Path(client.circus_pid_file).unlink()


def test_the_address_of_a_broker_is_removed_only_after_it_was_killed(aiida_profile):
    from aiida.manage.configuration import get_config

    folder = Path(get_config().filepaths(aiida_profile)['broker_service']['dir'])
    command = [sys.executable, '-m', 'aiida.brokers.zeromq.service', '--service-dir', str(folder)]
    environment = {**os.environ, 'AIIDA_PATH': str(get_config().dirpath)}
    broker = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for((folder / 'broker.status').exists, 60, 'the broker')
        forget_dead_broker(aiida_profile)
        assert (folder / 'broker.sockets').exists()
    finally:
        broker.send_signal(signal.SIGKILL)
        broker.wait()
    forget_dead_broker(aiida_profile)
    assert not (folder / 'broker.sockets').exists()


@pytest.mark.chaos
@pytest.mark.long
def test_a_daemon_whose_broker_was_killed_is_restarted(aiida_profile):
    client = get_daemon_client()
    assert ensure_daemon()
    try:
        daemon = psutil.Process(client.get_daemon_pid())
        wait_for(lambda: len(daemon.children()) >= 3, 60, 'worker, broker and statistics')
        broker = ZeromqBroker(aiida_profile)
        wait_for(broker.check_service_reachable, 60, 'the broker')
        assert not ensure_daemon()
        first = psutil.Process(broker._get_service_pid())
        first.kill()
        first.wait(30)
        assert has_lost_broker(aiida_profile)
        wait_for(lambda: broker._get_service_pid() != first.pid, 60, 'the next broker')
        assert has_lost_broker(aiida_profile)
        assert ensure_daemon()
        assert not daemon.is_running()
        wait_for(broker.check_service_reachable, 60, 'the broker')
        assert not has_lost_broker(aiida_profile)
    finally:
        stop_daemon(aiida_profile)
    assert not has_live_daemon(aiida_profile)


# Modules whose interfaces AiiDA does not guarantee to be stable.
PRIVATE_MODULES = (
    'aiida.brokers.zeromq',
    'aiida.cmdline',
    'aiida.engine.daemon',
    'aiida.engine.persistence',
    'aiida.engine.processes',
    'aiida.engine.runners',
    'aiida.engine.utils',
    'aiida.manage.caching',
    'aiida.orm.nodes',
)
# AiiDA documents these names for restart work chains and data classes.
DOCUMENTED = {'_process_class', '_validate'}


def private_names_of_aiida():
    classes = (
        CalcJob,
        DaemonClient,
        orm.Data,
        Process,
        WorkChain,
        orm.Computer,
        orm.RemoteData,
        orm.WorkChainNode,
        cmd_computer,
    )
    names = {name for one in classes for name in dir(one)}
    return {name for name in names if name.startswith('_') and not name.endswith('__')} - DOCUMENTED


def test_only_one_module_uses_private_interfaces_of_aiida():
    private, found = private_names_of_aiida(), []
    root = Path(aiida_mlip_autopipe.__file__).parent
    sources = {path: path.read_text() for path in root.rglob('*.py')}
    with_aiida = {path: text for path, text in sources.items() if re.search(r'^\s*(from|import) aiida\b', text, re.M)}
    for path, text in with_aiida.items():
        for node in ast.walk(ast.parse(text)):
            names = [getattr(node, key, '') for key in ('attr', 'name', 'id')]
            names += [node.module or ''] if isinstance(node, ast.ImportFrom) else []
            found += [
                (str(path.relative_to(root)), name)
                for name in names
                if name in private or (name or '').startswith(PRIVATE_MODULES)
            ]
    assert {path for path, _ in found} == {'aiida_internals.py'}, found
