"""A user's machine: the installed program, a separate AiiDA folder and a real daemon."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import psutil

BIN = Path(sys.executable).parent


class Home:
    """A user's machine: an AiiDA folder and the programs that use it.

    Parameters
    ----------
    folder
        The AiiDA folder.
    variables
        Environment variables in addition to those of the test.
    """

    def __init__(self, folder: Path, **variables: str):
        self.folder = folder
        path = f'{BIN}:{os.environ["PATH"]}'
        self.environment = {**os.environ, 'COLUMNS': '250', 'AIIDA_PATH': str(folder), 'PATH': path, **variables}
        self.environment.pop('AIIDA_PROFILE', None)

    def __call__(
        self, program: str, *arguments: object, check: bool = True, seconds: float = 300
    ) -> subprocess.CompletedProcess[str]:
        """Run a program within a time limit; with ``check``, it must succeed."""
        done = subprocess.run(
            [BIN / program, *map(str, arguments)],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def ask(self, code: str) -> Any:
        """Run Python code with the profile loaded and return its output, parsed as JSON."""
        script = 'from aiida import load_profile, orm\nload_profile()\nimport json\n' + textwrap.dedent(code)
        return json.loads(self('python', '-W', 'ignore', '-c', script).stdout)

    def submit(self, config: Path, *overrides: str) -> str:
        """Submit a campaign and return its pk."""
        output = self('mlip-autopipe', 'run', config, *overrides, '--detach').stdout
        return re.search(r'submitted, id (\d+)', output).group(1)

    def wait_for(self, campaign: str, pattern: str, seconds: float = 240) -> str:
        """Wait until the status of a campaign matches a pattern."""
        deadline = time.monotonic() + seconds
        while not re.search(pattern, text := self('mlip-autopipe', 'status', campaign).stdout):
            assert time.monotonic() < deadline, text
            time.sleep(0.5)
        return text

    def aiida_processes(self) -> list[psutil.Process]:
        """Return the daemon, workers and broker of this machine, without the jobs, which outlive them."""
        found = []
        for process in psutil.process_iter():
            try:
                ours = str(self.folder) in process.environ().get('AIIDA_PATH', '')
                job = any('aiida_mlip_autopipe.exploration' in word for word in process.cmdline())
                if ours and not job and 'bash' not in Path(process.exe()).name:
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):  # the process has ended in the meantime
                continue
        return found
