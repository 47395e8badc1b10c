"""CPU time of the commands that read a campaign of many seeds, with SQLite, and with PostgreSQL and RabbitMQ.

    python benchmarks/large_campaign.py                                  # 1,000 seeds, a few minutes
    python benchmarks/large_campaign.py --seeds 100 --keep folder        # keeps the profile in `folder/sqlite`
    python benchmarks/large_campaign.py --keep folder                    # measures in the profile that was kept
    python benchmarks/large_campaign.py --services sqlite postgresql     # compares both

Each profile is a new one in a separate AiiDA folder. It first runs a small campaign with the daemon, from which
`copied_campaign.py` then makes the large one. Each command runs in a separate process with one thread; the table
shows the smallest CPU time (user and system, with Python's startup) of the repeats. It does not include the CPU time
of a database server. The first line is the part that AiiDA takes to start: its imports and the profile.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services import SERVICES, running_services

BIN = Path(sys.executable).parent
COPIED_CAMPAIGN = Path(__file__).with_name('copied_campaign.py')
THREADS = dict.fromkeys(('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS'), '1')
SMALL = 8
# A tenth of the seeds have other limits: half of them fail at the first step, the others are resumed after a crash.
ENTRY = """\
  - kind: alloy
    lattice: fcc
    composition: {{{composition}}}
    supercell: [2, 2, 2]
    n_seeds: {n_seeds}
    validation: {{min_width_factor: 0.5, unique: false}}
    perturb: {{rattle_A: 0.05}}
"""
CONFIG = """\
name: {name}
random_seed: {n_seeds}
generation:
{entries}
calculator: {{kind: emt}}
exploration: {{ensemble: nvt, temperature_K: 500, n_steps: 20, frame_interval: 2}}
sampling: {{kind: fps, n_structures: {n_structures}}}
execution: {{reuse_finished: false, min_success_fraction: 0.3}}
"""
START = 'from aiida import load_profile, orm; load_profile(); orm.QueryBuilder().append(orm.Node).first()'
COMMANDS = {
    'status': 'status {pk}',
    'explain': 'explain {pk}',
    'trace': 'trace {pk} {row}',
    'report': 'report {pk} -o {folder}/report.html --force',
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--seeds', type=int, default=1000, help='seeds of the large campaign')
    parser.add_argument('--keep', type=Path, help='folder for the profiles, which are reused; by default, temporary')
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--services', nargs='+', choices=SERVICES, default=['sqlite'])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        for service in options.services:
            folder = (options.keep or Path(temporary)).absolute() / service
            folder.mkdir(parents=True, exist_ok=True)
            profile = Profile(folder)
            with running_services(service, folder, profile):
                measure_service(service, profile, options.seeds, options.repeats)


def measure_service(service: str, profile: Profile, n_seeds: int, repeats: int) -> None:
    """Print the time of the small campaign and the CPU time of each command."""
    made = profile.folder / 'campaigns.json'
    if not made.exists():
        made.write_text(json.dumps(make_campaigns(profile, n_seeds)))
    campaigns = json.loads(made.read_text())
    print(json.dumps({'service': service} | campaigns), flush=True)
    commands = {'start of AiiDA': ['python', '-c', START]}
    for name, command in COMMANDS.items():
        words = command.format(pk=campaigns['pk'], row=campaigns['n_rows'] // 2, folder=profile.folder).split()
        commands[name] = ['mlip-autopipe', *words]
    for name, words in commands.items():
        cpu_s = min(profile.cpu_s(*words) for _ in range(repeats))
        print(json.dumps({'service': service, 'command': name, 'cpu_s': round(cpu_s, 2)}), flush=True)


def make_campaigns(profile: Profile, n_seeds: int) -> dict[str, float]:
    """Run the small campaign and make the large one; return the time of the first and the pk of the second."""
    small, large = profile.folder / 'small.yaml', profile.folder / 'large.yaml'
    small.write_text(make_config('small', SMALL))
    large.write_text(make_config('large', n_seeds))
    profile('mlip-autopipe', 'setup', '--calculator', 'emt')
    # On a busy machine, the daemon needs more than the default of 2 s to answer.
    profile('verdi', 'config', 'set', 'daemon.timeout', '60')
    with profile.daemon():
        started = time.perf_counter()
        profile('mlip-autopipe', 'run', small, '--force')
        elapsed_s = time.perf_counter() - started
    pk = int(profile('python', COPIED_CAMPAIGN, 'small', large).splitlines()[-1])
    shown = profile('mlip-autopipe', 'export', pk, '-o', profile.folder / 'large.db', '--force')
    n_rows = int(re.search(r'([\d,]+) structures', shown).group(1).replace(',', ''))
    return {'n_seeds': n_seeds, 'pk': pk, 'n_rows': n_rows, 's_per_seed_of_small': round(elapsed_s / SMALL, 2)}


def make_config(name: str, n_seeds: int) -> str:
    """Return a campaign as YAML."""
    n_failing = max(n_seeds // 20, 1)
    entries = [
        ENTRY.format(composition='Cu: 0.75, Au: 0.25', n_seeds=n_seeds - 2 * n_failing),
        ENTRY.format(composition='Cu: 0.5, Au: 0.5', n_seeds=n_failing)
        + '    exploration: {guards: {force_eV_per_A: 0.01}}\n',
        ENTRY.format(composition='Cu: 0.25, Au: 0.75', n_seeds=n_failing)
        + '    exploration: {guards: {force_eV_per_A: 1.5}, recovery: {max_recoveries: 1}}\n',
    ]
    return CONFIG.format(name=name, n_seeds=n_seeds, entries=''.join(entries), n_structures=n_seeds)


class Profile:
    """A profile in a separate AiiDA folder, and the programs that use it.

    Parameters
    ----------
    folder
        The AiiDA folder.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        path = f'{BIN}:{os.environ["PATH"]}'
        self.environment = {**os.environ, **THREADS, 'AIIDA_PATH': str(folder), 'PATH': path}
        for name in ('AIIDA_PROFILE', 'PYTHONDONTWRITEBYTECODE'):
            self.environment.pop(name, None)

    def __call__(self, program: str, *arguments: object) -> str:
        """Run a program, which must succeed, and return its output."""
        command = [BIN / program, *map(str, arguments)]
        done = subprocess.run(
            command, env=self.environment, cwd=self.folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(f'{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}')
        return done.stdout

    @contextmanager
    def daemon(self) -> Iterator[None]:
        """Run the daemon within the block."""
        self('verdi', 'daemon', 'start')
        try:
            yield
        finally:
            self('verdi', 'daemon', 'stop')

    def cpu_s(self, program: str, *arguments: object) -> float:
        """Return the CPU time of a program in s."""
        with (self.folder / 'log').open('w') as log:
            process = subprocess.Popen(
                [BIN / program, *map(str, arguments)], env=self.environment, stdout=log, stderr=log
            )
            _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit((self.folder / 'log').read_text()[-2000:])
        return usage.ru_utime + usage.ru_stime


if __name__ == '__main__':
    main()
