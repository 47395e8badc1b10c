"""Computers, codes, models and images on the cluster, managed from the command line."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.cluster import IMAGES, SOFTWARE, STACK
from support.home import Home

from aiida_mlip_autopipe.core.codes import Code

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

HOSTS = """
Host hpc-stranger
    UserKnownHostsFile /dev/null
Host hpc-closed
    Port 1
Host hpc-locked
    User nobody
Host hpc-stranger hpc-closed hpc-locked
"""
WELCOME = 'echo "Welcome to the cluster"\n'


@pytest.fixture(scope='module')
def home(cluster, tmp_path_factory):
    """A profile with the cluster as the computer `hpc`, and further hosts that cannot be reached."""
    folder = tmp_path_factory.mktemp('home')
    shutil.copytree(STACK / 'home' / '.ssh', folder / '.ssh')
    config = folder / '.ssh' / 'config'
    # OpenSSH uses the first value that it finds, so the wrong values precede the shared ones.
    config.write_text(HOSTS + config.read_text().partition('\n')[2] + config.read_text())
    home = Home(folder, HOME=str(folder), XDG_DATA_HOME=str(folder / 'data'))
    home('mlip-autopipe', 'setup', '--calculator', 'emt')
    # AiiDA tries a failed submission five times, which takes 15 s here and five minutes by default.
    home('verdi', 'config', 'set', 'transport.task_retry_initial_interval', 1)
    added = add(home, 'hpc')
    assert added.returncode == 0, added.stderr
    assert 'computer hpc (core.ssh_async, core.slurm) works' in added.stdout
    yield home
    home('verdi', 'daemon', 'stop', check=False)


def add(home, name, host='hpc', scheduler='slurm'):
    """Add a computer; the command may fail."""
    options = ('--poll', '1', '--connection-interval', '0', '--workdir', f'{STACK}/users/mlipuser/by-hand')
    return home(
        'mlip-autopipe', 'computer', 'add', name, '--host', host, '--scheduler', scheduler, *options, check=False
    )


def assert_refused(done, code, *values):
    """Check that a line of stderr has the code and these values."""
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if f'[{code}]' in line]
    assert any(all(value in line for value in values) for line in lines), done.stderr


@pytest.mark.parametrize(
    ('host', 'code', 'values'),
    [
        ('hpc-stranger', Code.HOST_KEY_UNKNOWN, ['ssh hpc-stranger']),
        ('hpc-closed', Code.HOST_UNREACHABLE, ['hpc-closed', 'HostName', 'Port']),
        ('hpc-locked', Code.LOGIN_REFUSED, ['ssh hpc-locked']),
        ('no-such-host', Code.HOST_UNKNOWN, ['no-such-host', '~/.ssh/config']),
    ],
)
def test_a_host_that_cannot_be_reached_is_reported_and_not_added(home, host, code, values):
    assert_refused(add(home, 'elsewhere', host), code, *values)
    assert 'elsewhere' not in home('verdi', 'computer', 'list', '--all').stdout


def test_a_scheduler_that_is_not_installed_there_is_reported(home):
    done = add(home, 'pbs', scheduler='pbspro')
    assert_refused(done, Code.SCHEDULER_MISSING, 'pbspro', 'hpc', '~/.bash_profile')


@pytest.mark.alone
def test_login_scripts_that_print_text_are_reported(home, cluster):
    profile = cluster.home / '.bash_profile'
    profile.write_text(WELCOME)
    try:
        done = add(home, 'loud')
    finally:
        profile.unlink()
    assert_refused(done, Code.LOGIN_OUTPUT, 'hpc', '~/.bashrc')


def test_a_model_is_copied_once_and_again_if_the_copy_is_damaged(home, cluster, tmp_path):
    model = tmp_path / 'some.model'
    # Random weights, so that no earlier run has copied them.
    model.write_bytes(os.urandom(7000))
    sha256 = hashlib.sha256(model.read_bytes()).hexdigest()
    done = home('mlip-autopipe', 'calculator', 'place', model, '--computer', 'hpc').stdout
    path = re.search(r'(/\S+some\.model) on hpc: copied', done).group(1)
    assert path == f'{cluster.home}/.mlip-autopipe/models/{sha256[:16]}/some.model'
    assert cluster.ssh(f'sha256sum {path}').startswith(sha256)
    assert 'on hpc: found' in home('mlip-autopipe', 'calculator', 'place', model, '--computer', 'hpc').stdout
    cluster.ssh(f'echo damage >>{path}')
    assert 'on hpc: copied' in home('mlip-autopipe', 'calculator', 'place', model, '--computer', 'hpc').stdout
    assert cluster.ssh(f'sha256sum {path}').startswith(sha256)


def test_codes_of_an_environment_and_an_image_are_registered_after_a_self_test(home, cluster):
    """Paths may be relative to the home on the cluster."""
    cluster.ssh(f'ln -sfn {SOFTWARE}/base/bin/python python-base; ln -sfn {IMAGES}/base.sif base-link.sif')
    register = ('mlip-autopipe', 'calculator', 'register', 'emt', '--computer', 'hpc')
    done = home(*register, '--python', f'{SOFTWARE}/base/bin/python', 'cpus_per_job=1', 'queue=spare').stdout
    assert 'code autopipe-emt@hpc: created' in done
    assert re.search(r'package \S+, contract \d+', done)
    assert 'image sha256' not in done
    done = home(*register, '--image', '~/base-link.sif', 'memory_MB=900').stdout
    assert 'code autopipe-emt@hpc: replaced' in done
    assert f'image sha256 {hashlib.sha256((IMAGES / "base.sif").read_bytes()).hexdigest()}' in done
    assert re.search(
        rf'autopipe-emt@hpc +{cluster.home}/base-link\.sif', home('mlip-autopipe', 'calculator', 'list').stdout
    )

    failed = home(*register, '--python', '~/no/python', check=False)
    assert_refused(failed, Code.SELF_TEST_FAILED, 'no/python', 'autopipe-emt@hpc')
    missing = home(*register, '--image', 'nowhere.sif', check=False)
    assert_refused(missing, Code.IMAGE_MISSING, f'{cluster.home}/nowhere.sif', 'hpc')
    wrong = home(*register, '--image', '~/base-link.sif', 'queue=nowhere', check=False)
    assert_refused(wrong, Code.JOB_PAUSED)
    # The message of Slurm.
    assert 'Invalid partition name specified' in wrong.stderr


def test_a_calculator_is_installed_in_a_separate_environment(home, tmp_path):
    """The environment already has the dependencies, so that nothing is downloaded."""
    folder = home.folder / 'data' / 'mlip-autopipe' / 'emt'
    subprocess.run([sys.executable, '-m', 'venv', folder], check=True)
    packages = 'lib/python3.11/site-packages'
    shutil.copy(SOFTWARE / 'base' / packages / 'shared.pth', folder / packages)
    done = home('mlip-autopipe', 'calculator', 'install', 'emt').stdout
    assert 'code autopipe-emt@localhost: replaced' in done
    assert 'Python 3.11' in done
    installed = list((folder / packages).glob('aiida_mlip_autopipe-*.dist-info'))
    assert len(installed) == 1
    assert str(folder / 'bin' / 'python') in home('mlip-autopipe', 'calculator', 'list').stdout


def test_an_image_is_built_on_another_one_and_a_missing_base_is_refused(home, cluster, tmp_path):
    image = tmp_path / 'built.sif'
    options = ('--base', IMAGES / 'base.sif', '--fast', '--output', image)
    done = home('mlip-autopipe', 'calculator', 'build', 'emt', *options).stdout
    found = re.search(r'built\.sif: \d+ MB, sha256 ([0-9a-f]{64})', done)
    assert found.group(1) == hashlib.sha256(image.read_bytes()).hexdigest()
    assert 'calculator: emt' in cluster.run('apptainer', 'inspect', image)
    # An image runs the job by default.
    assert json.loads(cluster.run('apptainer', 'run', image, '--self-test'))['ok']
    failed = home('mlip-autopipe', 'calculator', 'build', 'emt', '--base', Path('no/such/folder'), check=False)
    assert_refused(failed, Code.INSTALLATION_FAILED, 'emt')
    assert "'no/such/folder'" in failed.stderr
