"""A temporary PostgreSQL server."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.waiting import wait_for

USER = 'aiida'
DATABASE = 'aiida'


@contextmanager
def postgres_server() -> Iterator[dict[str, object]]:
    """Run a server within the block; yield the settings of AiiDA's storage ``core.psql_dos`` for its database."""
    programs = _find_programs()
    # The server refuses to run as root; the Debian package makes a user for it.
    owner = {'user': 'postgres', 'group': 'postgres', 'extra_groups': []} if os.geteuid() == 0 else {}
    # This user cannot enter a private folder for temporary files.
    folder = Path(tempfile.mkdtemp(prefix='postgres', dir='/tmp' if owner else None))
    if owner:
        shutil.chown(folder, 'postgres', 'postgres')
    port = str(_free_port())

    def run(*command: object, check: bool = True) -> int:
        done = subprocess.run(
            [str(word) for word in command], cwd=folder, capture_output=True, text=True, check=False, **owner
        )
        assert not check or done.returncode == 0, f'{command}: {done.stdout} {done.stderr}'
        return done.returncode

    data = folder / 'data'
    run(programs / 'initdb', '-D', data, '-U', USER, '-A', 'trust', '-E', 'UTF8', '--no-sync')
    command = [programs / 'postgres', '-D', data, '-k', folder, '-h', '127.0.0.1', '-p', port, '-c', 'fsync=off']
    with (folder / 'log').open('w') as log:
        server = subprocess.Popen([str(word) for word in command], cwd=folder, stdout=log, stderr=log, **owner)
    try:
        connection = ('-h', '127.0.0.1', '-p', port, '-U', USER)
        wait_for(lambda: run(programs / 'pg_isready', *connection, check=False) == 0, 60, 'the start of PostgreSQL')
        run(programs / 'createdb', *connection, DATABASE)
        yield {
            'database_engine': 'postgresql_psycopg',
            'database_hostname': '127.0.0.1',
            'database_port': int(port),
            'database_username': USER,
            'database_password': 'unused',
            'database_name': DATABASE,
        }
    finally:
        # Ends the server without waiting for its clients.
        server.send_signal(signal.SIGINT)
        server.wait(60)
        shutil.rmtree(folder)


def _find_programs() -> Path:
    """Return the folder of the programs. Debian does not link it into the search path."""
    found = sorted(Path('/usr/lib/postgresql').glob('*/bin/initdb'))
    program = found[-1] if found else shutil.which('initdb')
    if program is None:
        pytest.skip('PostgreSQL is not installed')
    return Path(program).parent


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(('127.0.0.1', 0))
        port: int = one.getsockname()[1]
        return port
