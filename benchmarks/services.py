"""The services of a profile: none with SQLite and ZeroMQ, or a private PostgreSQL server and a private RabbitMQ broker.

Both servers listen on this machine only, on free ports, keep their data in temporary folders, and end with the block.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / 'tests'))

from support.postgres import postgres_server

SERVICES = ('sqlite', 'postgresql')
# Debian's wrapper in the search path starts the broker only as the user `rabbitmq`.
RABBITMQ = Path('/usr/lib/rabbitmq/bin')
START_TIMEOUT_S = 180
END_TIMEOUT_S = 60
CREATE_PROFILE = """\
import json, sys
from aiida.manage.configuration import create_profile, get_config
config = get_config(create=True)
create_profile(config, name='mlip-autopipe', email='autopipe@localhost', **json.loads(sys.argv[1]))
config.set_option('runner.poll.interval', 1, scope='mlip-autopipe')
config.set_default_profile('mlip-autopipe')
config.store()
"""


@contextmanager
def running_services(name: str, folder: Path, run: Callable[..., str]) -> Iterator[None]:
    """Run the services of a profile within the block, and create the profile, unless ``setup`` creates it.

    Parameters
    ----------
    name
        One of `SERVICES`.
    folder
        The AiiDA folder.
    run
        Runs a program that uses this AiiDA folder.
    """
    if name == 'sqlite':
        yield
        return
    with postgres_server() as database, rabbitmq_server() as broker:
        database['repository_uri'] = (folder / 'repository').as_uri()
        backends = {
            'storage_backend': 'core.psql_dos',
            'storage_config': database,
            'broker_backend': 'core.rabbitmq',
            'broker_config': broker,
        }
        run('python', '-c', CREATE_PROFILE, json.dumps(backends))
        yield


@contextmanager
def rabbitmq_server() -> Iterator[dict[str, Any]]:
    """Run a broker within the block; yield the settings of AiiDA's broker ``core.rabbitmq``."""
    # Erlang identifies the users of a node by a file that only their owner can read.
    owner = {'user': 'rabbitmq', 'group': 'rabbitmq', 'extra_groups': []} if os.geteuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix='rabbitmq', dir='/tmp' if owner else None))
    # Without this, the broker disconnects workers whose jobs take longer than half an hour.
    (folder / 'advanced.config').write_text('[{rabbit, [{consumer_timeout, undefined}]}].\n')
    (folder / 'enabled_plugins').write_text('[].\n')
    port, dist_port, epmd_port = _free_ports(3)
    environment = {
        'PATH': os.environ['PATH'],
        'HOME': str(folder),
        'ERL_EPMD_ADDRESS': '127.0.0.1',
        'ERL_EPMD_PORT': str(epmd_port),
        'RABBITMQ_NODENAME': 'benchmark@localhost',
        'RABBITMQ_NODE_IP_ADDRESS': '127.0.0.1',
        'RABBITMQ_NODE_PORT': str(port),
        'RABBITMQ_DIST_PORT': str(dist_port),
        'RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS': '-kernel inet_dist_use_interface {127,0,0,1}',
        'RABBITMQ_MNESIA_BASE': str(folder / 'mnesia'),
        'RABBITMQ_LOG_BASE': str(folder / 'log'),
        'RABBITMQ_ADVANCED_CONFIG_FILE': str(folder / 'advanced.config'),
        'RABBITMQ_ENABLED_PLUGINS_FILE': str(folder / 'enabled_plugins'),
    }
    if owner:
        for path in (folder, *folder.iterdir()):
            shutil.chown(path, 'rabbitmq', 'rabbitmq')
    command = [RABBITMQ / 'rabbitmq-server']
    quiet = {'stdout': subprocess.DEVNULL, 'stderr': subprocess.DEVNULL, 'cwd': folder, 'env': environment} | owner
    server = subprocess.Popen(command, start_new_session=True, **quiet)
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not _accepts_connections(port):
            if server.poll() is not None or time.monotonic() > deadline:
                sys.exit(f'RabbitMQ ended, or did not start within {START_TIMEOUT_S} s')
            time.sleep(0.5)
        yield {
            'broker_protocol': 'amqp',
            'broker_username': 'guest',
            'broker_password': 'guest',
            'broker_host': '127.0.0.1',
            'broker_port': port,
            'broker_virtual_host': '',
        }
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(END_TIMEOUT_S)
        subprocess.run(['epmd', '-kill'], check=False, **quiet)
        shutil.rmtree(folder)


def _accepts_connections(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(('127.0.0.1', port)) == 0


def _free_ports(n: int) -> list[int]:
    sockets = [socket.socket() for _ in range(n)]
    for one in sockets:
        one.bind(('127.0.0.1', 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
