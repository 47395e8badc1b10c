"""The only module that uses AiiDA's private interfaces.

The public names of AiiDA, such as those of `aiida.engine` and `aiida.orm`, are stable across minor releases. The
private names that are used here are not. Tests check how each of them behaves. The upper bound on aiida-core may be
raised when a new release passes these tests.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from aiida import orm
from aiida.engine import Awaitable, ProcessState, WorkChain
from aiida.engine.daemon.client import DaemonException
from aiida.engine.processes.workchains.workchain import WorkChainSpec
from aiida.manage import Profile, enable_caching
from aiida.orm.nodes.caching import NodeCaching

if TYPE_CHECKING:
    from aiida.engine.runners import Runner
    from aiida.schedulers import Scheduler
    from aiida.transports import Transport

__all__ = [
    'DaemonException',
    'EagerWorkChain',
    'WorkChainSpec',
    'check_computer',
    'clean_folder',
    'end_orphaned_parts',
    'forget_dead_broker',
    'has_live_daemon',
    'has_lost_broker',
    'hash_by_attributes',
    'is_marked_invalid',
    'kill_processes',
    'play_processes',
    'run_stored_process',
    'start_daemon',
    'stop_daemon',
    'tasks_of_broker',
    'use_cache',
]


# Time in seconds for a process to end after a signal.
END_TIMEOUT_S = 10

DataClass = TypeVar('DataClass', bound=type[orm.Data])


class EagerWorkChain(WorkChain):
    """A work chain that resumes as soon as any awaited process ends. AiiDA's `WorkChain` waits for all of them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._subscribed: set[int] = set()

    def load_instance_state(self, saved_state: Any, load_context: Any) -> None:
        """Discard the subscriptions, which ended with the worker that wrote the checkpoint."""
        self._subscribed = set()
        super().load_instance_state(saved_state, load_context)

    def _action_awaitables(self) -> None:
        """Subscribe once to the end of each awaited process.

        AiiDA subscribes to all of them again each time the work chain waits.
        """
        super()._update_process_status()
        for awaitable in self._awaitables:
            if awaitable.pk not in self._subscribed:
                self._subscribed.add(awaitable.pk)
                callback = partial(self.call_soon, self._on_awaitable_finished, awaitable)
                self.runner.call_on_process_finish(awaitable.pk, callback)

    def _update_process_status(self) -> None:
        """Set the status when a wait begins, not for each process, because each change is written to the database."""
        if not self._awaitables:
            super()._update_process_status()

    def _on_awaitable_finished(self, awaitable: Awaitable) -> None:
        """Resolve the awaitable of a process that has ended, and resume.

        The awaitable may belong to an earlier wait, in which another object represented the same process. If the work
        chain is not waiting, nothing happens: the next wait for the process subscribes again, and that subscription
        reports the end immediately.
        """
        self._subscribed.discard(awaitable.pk)
        current = next((other for other in self._awaitables if other.pk == awaitable.pk), None)
        if current is not None and self.state == ProcessState.WAITING:
            self._resolve_awaitable(current, orm.load_node(awaitable.pk))
            self.resume()


def run_stored_process(runner: Runner, pk: int) -> None:
    """Ask the daemon to run a process whose node and checkpoint are stored.

    If a worker is already running it, nothing happens: AiiDA rejects a second task for the same process.
    """
    assert runner.controller is not None, 'only a process that the daemon runs can submit children to the daemon'
    runner.controller.continue_process(pk, nowait=False, no_reply=True)


def kill_processes(nodes: list[orm.ProcessNode], timeout_s: float) -> None:
    """Ask the daemon to kill processes, and wait for its replies."""
    from aiida.engine.processes import control

    control.kill_processes(nodes, timeout=timeout_s)


def play_processes(nodes: list[orm.ProcessNode], timeout_s: float) -> None:
    """Ask the daemon to resume paused processes, and wait for its replies."""
    from aiida.engine.processes import control

    control.play_processes(nodes, timeout=timeout_s)


@contextmanager
def use_cache(entry_point: str, enabled: bool = True) -> Iterator[None]:
    """Enable AiiDA's cache for a calculation within the block, regardless of the profile's configuration.

    If the block raised an exception, `enable_caching` alone would leave the cache enabled in the worker.

    Parameters
    ----------
    entry_point
        Entry point of the calculation, such as ``mlip_autopipe.explore``.
    enabled
        Whether to enable the cache. If False, nothing is changed.
    """
    if not enabled:
        yield
        return
    context = enable_caching(identifier=f'aiida.calculations:{entry_point}')
    context.__enter__()
    try:
        yield
    finally:
        context.__exit__(None, None, None)


def hash_by_attributes(*names: str) -> Callable[[DataClass], DataClass]:
    """Return a class decorator that makes AiiDA hash nodes of a data class by their class and these attributes only."""

    class AttributeCaching(NodeCaching):
        def get_objects_to_hash(self) -> dict[str, Any]:
            return {'class': str(type(self._node)), **{name: self._node.base.attributes.get(name) for name in names}}

    def decorate(data_class: DataClass) -> DataClass:
        data_class._CLS_NODE_CACHING = AttributeCaching
        return data_class

    return decorate


def is_marked_invalid(node: orm.ProcessNode) -> bool:
    """Return whether a user has set ``node.base.caching.is_valid_cache = False``.

    That property is also false for process nodes that AiiDA does not reuse, such as interrupted jobs.
    """
    return not NodeCaching.is_valid_cache.fget(node.base.caching)


def clean_folder(remote: orm.RemoteData, transport: Transport) -> None:
    """Empty a remote folder through an open connection, and mark its node as cleaned."""
    remote._clean(transport)


def check_computer(
    computer: orm.Computer, transport: Transport, scheduler: Scheduler, authinfo: orm.AuthInfo
) -> Iterator[tuple[bool, str]]:
    """Run the tests of ``verdi computer test`` that are relevant to jobs; yield the outcome and message of each.

    A test that raises an exception counts as failed, and its message describes the exception.
    """
    from aiida.cmdline.commands import cmd_computer

    for test in (
        cmd_computer._computer_test_no_unexpected_output,
        cmd_computer._computer_test_get_jobs,
        cmd_computer._computer_get_remote_username,
        cmd_computer._computer_create_temp_file,
    ):
        try:
            passed, message = test(transport=transport, scheduler=scheduler, authinfo=authinfo, computer=computer)
        except Exception as error:
            passed, message = False, f'{type(error).__name__}: {error}'
        yield passed, str(message or '')


def has_live_daemon(profile: Profile) -> bool:
    """Return whether the daemon of a profile is running.

    A killed daemon leaves its pid file behind, and its pid may have been given to the daemon of another profile.
    """
    from aiida.engine import get_daemon_client

    client = get_daemon_client(profile.name)
    return not client._is_pid_file_stale and _is_part_of(profile, client.get_daemon_pid())


def _is_part_of(profile: Profile, pid: int | None) -> bool:
    """Return whether a process is running and belongs to the daemon of a profile, as far as this can be determined."""
    import psutil
    from aiida.manage.configuration import get_config

    try:
        process = psutil.Process(-1 if pid is None else pid)
        command, folder = process.cmdline(), process.environ().get('AIIDA_PATH', os.devnull)
    except (psutil.Error, ValueError):  # psutil raises ValueError for negative pids
        return False
    is_ours = os.path.realpath(folder) == os.path.realpath(get_config().dirpath)
    return is_ours and ('-p' not in command or profile.name in command)


def start_daemon(profile: Profile) -> None:
    """Start the daemon of a profile with the program ``verdi`` of the environment of this process.

    AiiDA starts the first ``verdi`` on ``PATH``, which may belong to another environment without this package. The
    daemon looks for the program of its workers there, too.
    """
    from aiida.engine import get_daemon_client
    from aiida.engine.daemon import client

    found = get_daemon_client(profile.name)
    if not has_live_daemon(profile):  # AiiDA would keep the file if its pid was given to another daemon
        Path(found.circus_pid_file).unlink(missing_ok=True)
    folder = Path(sys.executable).parent
    before = client.VERDI_BIN, os.environ.get('PATH', '')
    try:
        if (folder / 'verdi').is_file():
            client.VERDI_BIN = str(folder / 'verdi')
            os.environ['PATH'] = f'{folder}{os.pathsep}{before[1]}'
        found.start_daemon()
    finally:
        client.VERDI_BIN, os.environ['PATH'] = before


def stop_daemon(profile: Profile) -> None:
    """Stop the daemon of a profile, and kill it if it does not stop. In that case, some of its parts may survive."""
    import psutil
    from aiida.engine import get_daemon_client

    client = get_daemon_client(profile.name)
    pid = client.get_daemon_pid()
    with suppress(DaemonException):
        client.stop_daemon(wait=True)
    with suppress(psutil.NoSuchProcess):
        daemon = psutil.Process(pid)
        if psutil.wait_procs([daemon], timeout=END_TIMEOUT_S)[1]:
            daemon.kill()
            psutil.wait_procs([daemon], timeout=END_TIMEOUT_S)


def has_lost_broker(profile: Profile) -> bool:
    """Return whether the workers of a running daemon are connected to a ZeroMQ broker that has ended.

    If a broker is killed, the daemon restarts it, but at a different address, which AiiDA's workers never look up.
    """
    import psutil
    from aiida.brokers import ZeromqBroker
    from aiida.engine import get_daemon_client

    if profile.process_control_backend != 'core.zeromq':
        return False
    broker = ZeromqBroker(profile)
    try:
        parts = psutil.Process(get_daemon_client(profile.name).get_daemon_pid()).children()
        workers = [part for part in parts if 'worker' in part.cmdline()]
        if not _is_part_of(profile, pid := broker._get_service_pid()):
            return bool(workers)
        started = psutil.Process(pid).create_time()
        return any(worker.create_time() < started for worker in workers)
    except (psutil.NoSuchProcess, psutil.ZombieProcess):  # the broker or a worker has just ended
        return True


def tasks_of_broker(profile: Profile) -> set[int] | None:
    """Return the processes that a worker runs or will run, by their tasks; None if the broker does not provide them.

    RabbitMQ does not report which tasks a worker has received. A ZeroMQ broker stores one file for each task.
    """
    from aiida.brokers import ZeromqBroker

    if profile.process_control_backend != 'core.zeromq':
        return None
    tasks = set()
    folder = ZeromqBroker(profile)._storage_path / 'tasks'
    for file in [*folder.glob('pending/*.json'), *folder.glob('processing/*.json')]:
        with suppress(FileNotFoundError):  # the task has just been received or has ended
            tasks.add(json.loads(file.read_text())['body'].get('args', {}).get('pid'))
    return tasks


def end_orphaned_parts(profile: Profile) -> int:
    """End the workers and the broker that outlived the daemon of a profile, and return their number.

    If only the daemon is killed, they keep running, and ``verdi daemon stop`` does not end them.
    """
    import psutil
    from aiida.manage.configuration import get_config

    folder = get_config().dirpath
    orphans = []
    for process in psutil.process_iter():
        try:
            command = process.cmdline()
            parent = process.parent()
            # The daemon sets this variable for its parts. A part that a user runs by hand has a terminal.
            is_ours = process.environ().get('AIIDA_PATH') == folder and process.terminal() is None
            is_ours = is_ours and (parent is None or 'start-circus' not in parent.cmdline())
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
        is_part = f'-p {profile.name} daemon ' in ' '.join(command) and {'worker', 'broker'} & set(command)
        if is_ours and (is_part or 'circus import stats' in ' '.join(command)):
            orphans.append(process)
    for process in orphans:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    for process in psutil.wait_procs(orphans, timeout=END_TIMEOUT_S)[1]:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(orphans, timeout=END_TIMEOUT_S)
    return len(orphans)


def forget_dead_broker(profile: Profile) -> None:
    """Remove the address and the pid of a ZeroMQ broker that was killed.

    Otherwise a worker that starts before the new broker has written its address connects to the dead broker and waits
    forever. If another process has the pid now, no new broker starts at all.
    """
    from aiida.brokers import ZeromqBroker
    from aiida.brokers.zeromq.service import ZeromqBrokerService
    from aiida.manage.configuration import get_config

    if profile.process_control_backend != 'core.zeromq' or _is_part_of(
        profile, ZeromqBroker(profile)._get_service_pid()
    ):
        return
    layout = ZeromqBrokerService.FilepathLayout(get_config().filepaths(profile)['broker_service']['dir'])
    for file in (layout.sockets_file, layout.pid_file):
        file.unlink(missing_ok=True)
