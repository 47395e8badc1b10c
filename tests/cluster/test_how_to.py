"""The commands of two how-tos on clusters, read from the pages and run in order, as a reader would."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from support.cluster import SOFTWARE, STACK

from aiida_mlip_autopipe.storage import Dataset

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
HOW_TOS = ROOT / 'docs' / 'howto'
PAGE = (HOW_TOS / 'run_on_a_cluster.md').read_text()
COMMANDS = re.search(r'```shell\n(.*?)```', PAGE, re.DOTALL).group(1).splitlines()
CAMPAIGN = re.search(r'```yaml\n(.*?)```', PAGE, re.DOTALL).group(1)

# The commands that differ from the page, with the reason.
ADAPTED = {
    # Without an image registry, the base is a folder. The image is compressed less to save time.
    f'containers/build.sh {name}': f'containers/build.sh {name} --base {STACK}/roots/{name} --fast'
    for name in ('base', 'sevennet', 'gpaw')
}
SITE_PACKAGES = '.venv/lib/python3.11/site-packages'
VERDI = '#!%s\\nfrom aiida.cmdline.commands.cmd_verdi import verdi\\nverdi()\\n'
# Commands that run after a command of the page to avoid a download: pip then finds all dependencies already installed.
AFTERWARDS = {
    'python3.11 -m venv .venv && . .venv/bin/activate': [
        f'cp {SOFTWARE}/base/lib/python3.11/site-packages/shared.pth {SITE_PACKAGES}',
        # The only program of a dependency that the page calls.
        f'printf "{VERDI}" "$(which python)" >.venv/bin/verdi && chmod +x .venv/bin/verdi',
    ]
}


class Shell:
    """The terminal of a reader: one shell for all commands, with a separate home."""

    def __init__(self, home: Path, folder: Path):
        path = f'{home}/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin'
        kept = {name: value for name, value in os.environ.items() if name.startswith(('PIP_', 'SSL_', 'REQUESTS_'))}
        self.log = home / 'terminal.log'
        self._process = subprocess.Popen(
            ['bash', '--noprofile', '--norc'],
            cwd=folder,
            env={**kept, 'HOME': str(home), 'PATH': path, 'LANG': 'C.UTF-8', 'COLUMNS': '200'},
            stdin=subprocess.PIPE,
            stdout=self.log.open('w'),
            stderr=subprocess.STDOUT,
            text=True,
        )

    def __call__(self, command: str, seconds: float = 300) -> str:
        """Run a command and return its output."""
        before = self.log.stat().st_size
        self._process.stdin.write(f'{command}\necho "== ended with $?"\n')
        self._process.stdin.flush()
        deadline = time.monotonic() + seconds
        while (end := re.search(r'^== ended with (\d+)$', text := self._read(before), re.MULTILINE)) is None:
            assert time.monotonic() < deadline, f'{command} did not end within {seconds} s\n{text}'
            assert self._process.poll() is None, f'{command} ended the shell\n{text}'
            time.sleep(0.1)
        output = text[: end.start()]
        assert end.group(1) == '0', f'{command}\n{output}'
        return output

    def _read(self, start: int) -> str:
        return self.log.read_bytes()[start:].decode(errors='replace')

    def close(self) -> None:
        """Stop the daemon and the shell."""
        try:
            self('if command -v verdi >/dev/null; then verdi daemon stop --timeout 50; fi', seconds=90)
        finally:
            self._process.stdin.close()
            self._process.wait(30)


@pytest.fixture
def shell(cluster, tmp_path):
    """A shell in a fresh checkout, with a home in which `ssh hpc` works."""
    home, checkout = tmp_path / 'home', tmp_path / 'checkout'
    (home / 'bin').mkdir(parents=True)
    shutil.copytree(STACK / 'home' / '.ssh', home / '.ssh')
    # OpenSSH ignores HOME and uses the home in the user database.
    for program in ('ssh', 'scp'):
        wrapper = home / 'bin' / program
        wrapper.write_text(f'#!/bin/sh\nexec /usr/bin/{program} -F {home}/.ssh/config "$@"\n')
        wrapper.chmod(0o755)
    listed = ['git', '-C', ROOT, 'ls-files', '--cached', '--others', '--exclude-standard', '-z']
    for name in filter(None, subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split('\0')):
        if (ROOT / name).is_file():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, checkout / name)
    terminal = Shell(home, checkout)
    yield terminal
    terminal.close()
    cluster.ssh('rm -rf *.sif mlip-autopipe')


def without_comment(line):
    return re.sub(r'\s+#\s+\d+.*', '', line)


def test_the_commands_of_the_page_make_a_dataset(shell, cluster, tmp_path):
    checkout = tmp_path / 'checkout'
    (checkout / 'campaign.yaml').write_text(CAMPAIGN)
    assert len(COMMANDS) == 10
    outputs = []
    for line in COMMANDS:
        command = without_comment(line)
        outputs.append(shell(ADAPTED.get(command, command)))
        for further in AFTERWARDS.get(command, ()):
            shell(further)
        if command.startswith('mlip-autopipe run'):
            folder = re.search(r'jobs write to (\S+)', outputs[5]).group(1)
            assert cluster.ssh(f'find {shlex.quote(folder)} -name job.json | wc -l').strip() == '4'

    config = yaml.safe_load(CAMPAIGN)
    with Dataset(checkout / f'{config["name"]}.db') as dataset:
        rows = list(dataset.query())
    assert len(rows) == config['sampling']['n_structures'] == 20
    assert len({row.provenance.seed_id for row in rows}) > 1
    setup, image, computer, code, run, status, clean = (outputs[index] for index in (2, 3, 5, 6, 7, 8, 9))
    assert 'created (SQLite, ZeroMQ)' in setup
    assert re.search(r'base.sif: \d+ MB, sha256 [0-9a-f]{64}', image)
    assert 'computer hpc (core.ssh_async, core.slurm) works' in computer
    assert 'code autopipe-emt@hpc: created' in code
    assert '20 structures in cu_au.db' in run
    assert re.search(r'cu_au .* finished +4 of 4 done', status)
    assert re.search(r'^4 folders\b', clean, re.MULTILINE)
    assert cluster.ssh(f'find {shlex.quote(folder)} -name job.json | wc -l').strip() == '0'


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_the_commands_of_the_page_on_labels_make_labels_once(shell, cluster, tmp_path):
    text = (HOW_TOS / 'label_on_a_cluster.md').read_text()
    campaign = yaml.safe_load(re.search(r'```yaml\n(name: .*?)```', text, re.DOTALL).group(1))
    # The values of the page take hours on two cores.
    campaign['exploration']['n_steps'] = 20
    campaign['sampling'] |= {'kind': 'random', 'n_structures': 3}
    campaign['labelling'] |= {'plane_wave_cutoff_eV': 200, 'kspacing_per_A': 1.0, 'scf_density': 1.0e-4}
    # The test cluster does not allow longer jobs.
    campaign['labelling']['resources']['max_wallclock_s'] = 3600
    checkout = tmp_path / 'checkout'
    (checkout / 'aluminium.yaml').write_text(yaml.safe_dump(campaign))
    sections = {name: campaign[name] for name in ('labelling', 'execution')}
    (checkout / 'gpaw.yaml').write_text(yaml.safe_dump(sections))

    # What the page on clusters says about the environment, the profile and the computer.
    for line in (*COMMANDS[:3], COMMANDS[5]):
        command = without_comment(line)
        shell(command)
        for further in AFTERWARDS.get(command, ()):
            shell(further)
    outputs = {}
    for block in re.findall(r'```shell\n(.*?)```', text, re.DOTALL):
        for command in block.splitlines():
            outputs[command] = shell(ADAPTED.get(command, command), seconds=900)

    for name in ('aluminium.db', 'aluminium_dft.db'):
        with Dataset(checkout / name) as dataset:
            rows = list(dataset.query())
        assert len(rows) == 3
        assert {row.level.name for row in rows} == {'dft:gpaw:pbe'}
    # The campaign has labelled all structures.
    labels = json.loads(shell('mlip-autopipe status aluminium_dft --json'))['progress']['labels']
    assert (labels['n_known'], labels['n_labelled']) == (3, 0)
