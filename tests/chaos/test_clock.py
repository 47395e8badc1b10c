"""The clock of the machine jumps while a campaign runs."""

import shutil
import subprocess
from pathlib import Path

import pytest
from support import chaos
from support.chaos import Machine

DAY_S = 24 * 3600

pytestmark = [pytest.mark.integration, pytest.mark.chaos, pytest.mark.long, pytest.mark.timeout(1200)]


@pytest.fixture(scope='module')
def library(tmp_path_factory):
    """A library that shifts the clock of the programs that load it."""
    compiler = shutil.which('gcc')
    if compiler is None:
        pytest.skip('the library that shifts the clock has to be compiled with gcc')
    built = tmp_path_factory.mktemp('clock') / 'shifted_clock.so'
    source = Path(chaos.__file__).parent / 'shifted_clock.c'
    subprocess.run([compiler, '-shared', '-fPIC', '-O2', '-o', built, source], check=True)
    return built


@pytest.fixture
def shifted_machine(folder, library, tmp_path):
    """A machine with a profile whose clock is shifted by the number of seconds in a file."""
    shift = tmp_path / 'shift'
    shift.write_text('0')
    machine = Machine(tmp_path / 'shifted', LD_PRELOAD=str(library), CLOCK_SHIFT_FILE=str(shift))
    machine.folder.mkdir()
    machine('mlip-autopipe', 'setup', '--calculator', 'emt')
    yield machine, shift
    machine.stop()


def read_clock(machine):
    return float(machine('python', '-c', 'import time; print(time.time())').stdout)


@pytest.mark.parametrize('jump_s', [DAY_S, -DAY_S])
def test_a_campaign_finishes_although_the_clock_jumps(shifted_machine, folder, undisturbed, jump_s):
    machine, shift = shifted_machine
    before = read_clock(machine)
    campaign = machine.submit('campaign.yaml')
    machine.wait_for_checkpoint()
    parts = [*machine.part('daemon'), *machine.part('worker'), *machine.part('broker'), *machine.part('job')]
    assert all('LD_PRELOAD' in part.environ() for part in parts)
    shift.write_text(str(jump_s))
    assert abs(read_clock(machine) - before - jump_s) < 600
    machine.finish(campaign)
    assert machine.content(campaign, folder) == undisturbed
