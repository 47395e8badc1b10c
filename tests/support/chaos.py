"""A user's machine on which anything may be killed, and the campaign that must survive it."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.home import BIN, Home
from support.waiting import wait_for

from aiida_mlip_autopipe.jobs.contract import CHECKPOINT_FILE
from aiida_mlip_autopipe.storage import Dataset

# Two small crystals of aluminium. A job takes a few seconds and writes a checkpoint every few steps. Nothing is reused
# from an earlier campaign.
CAMPAIGN = """\
name: aluminium
random_seed: 3
generation:
  - {kind: structures, files: [al.xyz], perturb: {rattle_A: 0.05, n_variants: 2}}
calculator: {kind: emt}
exploration: {temperature_K: 400, n_steps: 1000, frame_interval: 50, checkpoint_interval: 20}
sampling: {n_structures: 8}
execution: {max_concurrent_jobs: 2, reuse_finished: false}
"""
# Makes the campaign as small as possible, for tests in which no job has to be caught while it runs.
SMALL = ('generation[0].perturb.n_variants=1', 'exploration.n_steps=100', 'sampling.n_structures=2')
DATABASE = 'aluminium.db'
# An undisturbed campaign takes 20 s on a quiet machine. A test fails if a campaign takes longer than this.
LIMIT_S = 600
ENDED = ('finished', 'excepted', 'killed')


class Machine(Home):
    """A user's machine with everything that runs on it: commands, the daemon, its workers and broker, and jobs."""

    def processes(self) -> list[psutil.Process]:
        """Return all processes that were started from this machine, directly or indirectly."""
        found = []
        for process in psutil.process_iter():
            try:
                is_ours = str(self.folder) in process.environ().get('AIIDA_PATH', '')
                if is_ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):  # it has ended, or belongs to the system
                continue
        return found

    def part(self, name: str) -> list[psutil.Process]:
        """Return the processes of one part of this machine.

        Parameters
        ----------
        name
            ``daemon``, ``worker``, ``broker``, ``job`` or ``all``, which is everything except commands of the user.
        """
        words = {
            'daemon': ('start-circus',),
            'worker': ('daemon', 'worker'),
            'broker': ('daemon', 'broker'),
            'job': ('-m', 'aiida_mlip_autopipe.exploration'),
            'all': (),
        }[name]
        commands = [(process, _command(process)) for process in self.processes()]
        return [
            process
            for process, command in commands
            if all(word in command for word in words) and not any('mlip-autopipe' in word[-13:] for word in command[:2])
        ]

    def kill(self, processes: Iterable[psutil.Process], number: int = signal.SIGKILL) -> None:
        """Send a signal to processes, and wait until those that it kills have ended."""
        sent = []
        for process in processes:
            try:
                process.send_signal(number)
                sent.append(process)
            except psutil.NoSuchProcess:
                continue
        if number == signal.SIGKILL:
            assert not psutil.wait_procs(sent, timeout=30)[1]

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        """Start the program ``mlip-autopipe`` in the background; its output is one stream."""
        return subprocess.Popen(
            [BIN / 'mlip-autopipe', *map(str, arguments)],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def wait_for_checkpoint(self, n_jobs: int = 1) -> list[Path]:
        """Wait until some running jobs have written a checkpoint; return their folders."""
        scratch = self.folder / '.aiida' / 'scratch'

        def find() -> list[Path]:
            running = {Path(one) for one in map(_folder, self.part('job')) if one}
            found = [file.parent for file in scratch.rglob(CHECKPOINT_FILE) if file.parent in running]
            return found if len(found) >= n_jobs else []

        return wait_for(find, LIMIT_S, 'a running job with a checkpoint')

    def stages(self) -> dict[str, str]:
        """Return the state of each campaign by its pk, from the database of the profile.

        This takes milliseconds, while ``mlip-autopipe status`` takes a second of processor time.
        """
        (path,) = self.folder.glob('.aiida/repository/*/database.sqlite')
        query = (
            "SELECT id, attributes ->> 'process_state', attributes ->> 'exit_status' FROM db_dbnode "
            "WHERE process_type = 'aiida.workflows:mlip_autopipe.dataset'"
        )
        with closing(sqlite3.connect(f'file:{path}?mode=ro', uri=True)) as database:
            return {str(pk): f'{state} {status}' for pk, state, status in database.execute(query)}

    def finish(self, campaign: str) -> None:
        """Wait until a campaign has ended; it must have succeeded."""
        wait_for(lambda: self.stages()[campaign].split()[0] in ENDED, LIMIT_S, f'the end of campaign {campaign}')
        assert self.stages()[campaign] == 'finished 0', self('mlip-autopipe', 'status', campaign).stdout

    def resume_until_finished(self, campaign: str, n_tries: int = 5) -> str:
        """Resume a campaign whenever it has ended early; return the last one that resumes it, which has finished."""
        last = campaign
        for _ in range(n_tries):
            self('mlip-autopipe', 'resume', campaign)
            last = max(self.stages(), key=int)
            wait_for(lambda last=last: self.stages()[last].split()[0] in ENDED, LIMIT_S, f'the end of campaign {last}')
            if self.stages()[last] == 'finished 0':
                break
        assert self.stages()[last] == 'finished 0', self('mlip-autopipe', 'status', last).stdout
        return last

    def content(self, campaign: str, folder: Path) -> list[Any]:
        """Export the dataset of a campaign, and return its content."""
        path = folder / f'exported_{campaign}.db'
        self('mlip-autopipe', 'export', campaign, '-o', path)
        return read_content(path)

    def stop(self) -> None:
        """Stop the daemon as a user does; nothing may be left."""
        self('verdi', 'daemon', 'stop', check=False)
        try:
            wait_for(lambda: not self.processes(), 60, 'the end of all processes')
        finally:
            left = self.processes()
            commands = [_command(process) for process in left]
            self.kill(left)
        assert not commands, commands


class SmallDisk:
    """A file system in memory, mounted on a folder until the end of a ``with`` block.

    Parameters
    ----------
    folder
        The folder.
    size_kB
        The size.
    """

    def __init__(self, folder: Path, size_kB: int):
        self.folder = folder
        command = ['mount', '-t', 'tmpfs', '-o', f'size={size_kB}k', 'tmpfs', str(folder)]
        if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip('only root can mount a small file system, and a container may forbid it')

    def resize(self, size_kB: int) -> None:
        """Change the size."""
        subprocess.run(['mount', '-o', f'remount,size={size_kB}k', str(self.folder)], check=True)

    def __enter__(self) -> SmallDisk:
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(['umount', '--lazy', str(self.folder)], check=True)


def campaign_id(output: str) -> str:
    """Return the pk of a campaign from the output of ``run``."""
    found = re.search(r'submitted, id (\d+)', output)
    assert found, output
    return found.group(1)


def read_content(path: Path) -> list[Any]:
    """Return the content of a database without ids, uuids and times."""
    with Dataset(path) as dataset:
        return [
            (
                row.atoms.numbers.tolist(),
                row.atoms.positions.tobytes(),
                row.atoms.cell.array.tobytes(),
                row.atoms.get_potential_energy(),
                row.atoms.get_forces().tobytes(),
                row.atoms.get_stress().tobytes(),
                {key: value for key, value in row.data['provenance'].items() if key != 'exploration'},
                row.data['seed'],
            )
            for row in dataset.query()
        ]


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []


def _folder(process: psutil.Process) -> str:
    try:
        return process.cwd()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ''
