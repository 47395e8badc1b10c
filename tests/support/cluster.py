"""The cluster that ``tests/cluster/up.sh`` starts: its paths, and commands of its user and its administrator."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiida import orm

STACK = Path(os.environ.get('MLIP_AUTOPIPE_STACK', '/var/lib/mlip-autopipe-cluster'))
IMAGES = STACK / 'images'
SOFTWARE = STACK / 'software'
SCRIPTS = Path(__file__).parents[1] / 'cluster' / 'stack'
USER = 'mlipuser'


def why_ended(exploration: orm.WorkChainNode) -> str:
    """Return why an exploration ended."""
    from aiida_mlip_autopipe.workflows import graph

    return graph.why_ended([exploration.pk])[exploration.pk]


class Cluster:
    """Commands of the administrator and the user of the cluster."""

    home = STACK / 'users' / USER

    def run(self, *command: str) -> str:
        """Run a command as the administrator and return its output."""
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f'{command}: {done.stdout} {done.stderr}'
        return done.stdout

    def ssh(self, command: str) -> str:
        """Run a command as the user, over SSH."""
        return self.run('ssh', '-F', str(STACK / 'home' / '.ssh' / 'config'), 'hpc', command)

    def job_facts(self, job_id: str, *fields: str) -> list[str]:
        """Return fields of the last run of a job from the accounting."""
        line = self.run('sacct', '-X', '-n', '-P', '-j', job_id, '--format', ','.join(fields)).splitlines()[-1]
        return line.split('|')

    def queue_facts(self, job_id: str) -> dict[str, str]:
        """Return the fields of a job from the controller."""
        words = self.run('scontrol', 'show', 'job', '--oneliner', job_id).split()
        return dict(word.split('=', 1) for word in words if '=' in word)

    def bring_up(self, node: str) -> None:
        """Resume a node that was set to DOWN, unless it is already up again."""
        if 'DOWN' in self.run('scontrol', 'show', 'node', node):
            self.run('scontrol', 'update', f'nodename={node}', 'state=resume')

    def stop_sshd(self) -> None:
        """Stop sshd and close all its connections."""
        listener = (STACK / 'run' / 'sshd.pid').read_text().strip()
        connections = subprocess.run(['pgrep', '-P', listener], capture_output=True, text=True, check=False).stdout
        self.run('kill', listener, *connections.split())

    def start_sshd(self) -> None:
        """Start sshd again."""
        self.run(str(SCRIPTS / 'sshd.sh'))
