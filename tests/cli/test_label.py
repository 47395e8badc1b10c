"""Label structures as a user does: with the installed program, a separate profile and a real daemon."""

import hashlib
import json
import re
import signal
from pathlib import Path

import psutil
import pytest
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from support.errors import assert_refused
from support.home import Home
from support.rows import _make_provenance
from support.waiting import wait_for

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.storage import Dataset, export_dataset, make_row

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

COUNTING = Path(__file__).parents[1] / 'support' / 'counting'
# lj explores one seed, and EMT labels the selected frames.
CAMPAIGN = """\
name: aluminium
generation:
  - {kind: structures, files: [al.xyz], perturb: {rattle_A: 0.05}}
calculator: {kind: lj, epsilon_eV: 0.4, sigma_A: 2.6, cutoff_A: 6.0}
exploration: {temperature_K: 300, n_steps: 20, frame_interval: 4}
sampling: {kind: random, n_structures: 4}
labelling: {kind: calculator, calculator: {kind: emt}, structures_per_job: 2}
execution: {code: autopipe-lj@localhost}
"""


@pytest.fixture
def make_home(tmp_path_factory):
    homes = []

    def make(*calculators, **variables):
        home = Home(tmp_path_factory.mktemp('home'), **variables)
        homes.append(home)
        for calculator in calculators:
            home('mlip-autopipe', 'setup', '--calculator', calculator)
        return home

    yield make
    for home in homes:
        home('verdi', 'daemon', 'stop', check=False)


def write_dataset(path, n):
    """Write a dataset of rattled crystals; return the hashes of their positions."""
    rows, hashes = [], []
    for number in range(n):
        atoms = bulk('Al', cubic=True)
        atoms.rattle(0.05, seed=number)
        atoms.calc = SinglePointCalculator(atoms, energy=0.0, forces=0 * atoms.positions)
        provenance = _make_provenance(step=number, rank=number, architecture='lj')
        rows.append(make_row(atoms, provenance, {'kind': 'structures', 'parent': '12'}))
        hashes.append(hashlib.sha256(atoms.positions.tobytes()).hexdigest())
    export_dataset(path, rows)
    return hashes


def read_rows(path):
    with Dataset(Path(path)) as dataset:
        return list(dataset.query())


def test_a_campaign_labels_its_frames_and_a_labelling_run_of_its_dataset_reuses_all_labels(make_home, empty_folder):
    home = make_home('emt', 'lj')
    bulk('Al', cubic=True).repeat((2, 2, 2)).write('al.xyz')
    Path('campaign.yaml').write_text(CAMPAIGN)
    plan = home('mlip-autopipe', 'run', 'campaign.yaml', '--dry-run').stdout
    assert re.search(r'labels\s+at most 4\b.*mlip:emt', plan)
    assert re.search(r'cost of labels\s+unknown', plan)
    output = home('mlip-autopipe', 'run', 'campaign.yaml').stdout
    assert re.search(r'4 .*aluminium\.db', output)
    rows = read_rows('aluminium.db')
    assert {row.key_value_pairs['label_source'] for row in rows} == {'mlip:emt'}
    assert {tuple(row.data['labels_before']) for row in rows} == {('mlip:lj',)}
    status = json.loads(home('mlip-autopipe', 'status', 'aluminium', '--json').stdout)['progress']
    assert (status['stage'], status['labels']['n_labelled'], status['labels']['n_known']) == ('finished', 4, 0)

    Path('label.yaml').write_text('labelling: {kind: calculator, calculator: {kind: emt}}\n')
    label = ('label', 'run', 'aluminium.db', '--settings', 'label.yaml')
    plan = home('mlip-autopipe', *label, '--dry-run').stdout
    assert re.search(r'structures\s+4, 4 of them ', plan)
    assert re.search(r'cost\s+about 0 core seconds.*corrected\s+using\s+4\s+labels', plan, re.DOTALL)
    refused = home('mlip-autopipe', *label, '-o', 'aluminium.db', check=False)
    assert_refused(refused.stderr, Code.FILE_EXISTS, 'aluminium.db')
    home('mlip-autopipe', *label, '--retry-failed', '-o', 'again.db')
    listed = json.loads(home('mlip-autopipe', 'status', '--json').stdout)
    assert [(one['name'], one['stage']) for one in listed] == [('again', 'finished'), ('aluminium', 'finished')]
    assert listed[0]['labels']['n_known'] == listed[0]['labels']['n_structures'] == 4
    assert [row.labels['energy'] for row in read_rows('again.db')] == [row.labels['energy'] for row in rows]
    report = home('mlip-autopipe', 'report', str(listed[0]['pk']), '--json', check=False)
    assert_refused(report.stderr, Code.CAMPAIGN_MISSING, str(listed[0]['pk']))


class SlowRun:
    """A labelling run of a dataset with n structures, each of which takes half a second by default.

    Attributes
    ----------
    home
        The user's machine.
    hashes
        The hashes of the structures.
    """

    def __init__(self, home, folder, n, delay_s=0.5):
        self.home, self.hashes, self._log = home, write_dataset(Path('al.db'), n), folder / 'log.txt'
        Path('label.yaml').write_text(
            'labelling:\n'
            '  kind: custom\n'
            '  code: autopipe-emt@localhost\n'
            '  calculator: counting_emt:CountingEMT\n'
            f'  parameters: {{log: {self._log}, delay_s: {delay_s}}}\n'
            '  level_name: mlip:counting\n'
            '  energy: total\n'
            '  structures_per_job: 6\n'
            '  isolated_atoms: false\n'
            'execution: {max_concurrent_jobs: 1}\n'
        )

    def submit(self):
        """Submit the run, wait until it has computed two structures, and return its pk."""
        arguments = ('label', 'run', 'al.db', '--settings', 'label.yaml', '-o', 'labelled.db', '--detach')
        run = re.search(r'submitted, id (\d+)', self.home('mlip-autopipe', *arguments).stdout).group(1)
        wait_for(lambda: len(self.computed()) >= 2, 120, 'the first labels')
        return run

    def computed(self):
        """Return the hash of each structure that was computed, in order; the self-test computes another one."""
        return [line for line in (self._log.read_text().split() if self._log.is_file() else ()) if line in self.hashes]

    def finish(self, run):
        """Wait for the end of a run, and check that each structure was computed once."""
        self.home.wait_for(run, r'stage\s+finished')
        self.home('mlip-autopipe', 'export', run, '-o', 'labelled.db')
        rows = read_rows('labelled.db')
        assert len(rows) == len(self.hashes)
        assert {row.level.name for row in rows} == {'mlip:counting'}
        assert sorted(self.computed()) == sorted(self.hashes)


@pytest.mark.long
@pytest.mark.chaos
def test_after_the_daemon_and_a_job_were_killed_no_structure_is_computed_twice(make_home, empty_folder):
    slow = SlowRun(make_home('emt', PYTHONPATH=str(COUNTING)), empty_folder, 9)
    run = slow.submit()
    victims = slow.home.aiida_processes()
    assert any('aiida_mlip_autopipe.labelling' in one.cmdline() for one in victims)
    for victim in victims:
        victim.send_signal(signal.SIGKILL)
    psutil.wait_procs(victims, timeout=20)
    assert 2 <= len(slow.computed()) < 6
    slow.home('mlip-autopipe', 'resume', run)
    slow.finish(run)


@pytest.mark.long
def test_a_stopped_run_keeps_its_labels_and_the_same_command_computes_the_rest(make_home, empty_folder):
    # The command that stops the run takes seconds to start, and the job must not finish meanwhile.
    slow = SlowRun(make_home('emt', PYTHONPATH=str(COUNTING)), empty_folder, 9, delay_s=5)
    run = slow.submit()
    assert re.match(r'1 job\b.* 0 killed', slow.home('mlip-autopipe', 'kill', run, '--wait', '240').stdout)
    status = json.loads(slow.home('mlip-autopipe', 'status', run, '--json').stdout)['progress']
    assert status['stage'] == 'failed'
    n_kept = status['labels']['n_labelled']
    assert 2 <= n_kept == len(slow.computed()) < 6
    again = slow.submit()
    slow.finish(again)
    labels = json.loads(slow.home('mlip-autopipe', 'status', again, '--json').stdout)['progress']['labels']
    assert (labels['n_known'], labels['n_labelled']) == (n_kept, 9 - n_kept)


@pytest.mark.long
@pytest.mark.chaos
def test_labels_of_a_job_that_was_killed_through_aiida_are_recovered(make_home, empty_folder):
    """AiiDA retrieves nothing from a killed job. It takes seconds to start the command that kills it."""
    slow = SlowRun(make_home('emt', PYTHONPATH=str(COUNTING)), empty_folder, 9, delay_s=4.0)
    run = slow.submit()
    slow.home('verdi', 'process', 'kill', run)
    slow.home.wait_for(run, r'stage\s+failed')
    output = slow.home('mlip-autopipe', 'resume', run).stdout
    resumed = re.search(r'submitted again, id (\d+)', output).group(1)
    slow.finish(resumed)
    labels = json.loads(slow.home('mlip-autopipe', 'status', resumed, '--json').stdout)['progress']['labels']
    assert 2 <= labels['n_known'] < 6
    assert labels['n_known'] + labels['n_labelled'] == 9
