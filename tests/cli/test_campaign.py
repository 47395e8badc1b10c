"""Run campaigns as a user does: with the installed program, a separate profile and a real daemon."""

import json
import re
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from ase.build import bulk
from support.chaos import read_content
from support.errors import assert_refused
from support.home import BIN, Home
from support.waiting import wait_for

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.storage import Dataset

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

MOLECULAR_CRYSTALS = Path(__file__).parents[1] / 'support' / 'molecular_crystals'
# Four small crystals of aluminium, each explored for a few seconds.
CONFIG = """\
name: aluminium
random_seed: 3
generation:
  - {kind: structures, files: [al.xyz], perturb: {rattle_A: 0.05, n_variants: 4}}
calculator: {kind: emt}
exploration: {temperature_K: 400, n_steps: 400, frame_interval: 20}
sampling: {n_structures: 12}
execution: {max_concurrent_jobs: 2}
"""


@pytest.fixture
def make_home(tmp_path_factory):
    homes = []

    def make():
        home = Home(tmp_path_factory.mktemp('home'))
        homes.append(home)
        home('mlip-autopipe', 'setup', '--calculator', 'emt')
        return home

    yield make
    for home in homes:
        home('verdi', 'daemon', 'stop', check=False)


@pytest.fixture(scope='module')
def shared_home(tmp_path_factory):
    home = Home(tmp_path_factory.mktemp('home'))
    home('mlip-autopipe', 'setup', '--calculator', 'emt')
    yield home
    home('verdi', 'daemon', 'stop', check=False)


@pytest.fixture
def config(empty_folder):
    bulk('Al', cubic=True).repeat((2, 2, 2)).write('al.xyz')
    path = empty_folder / 'campaign.yaml'
    path.write_text(CONFIG)
    return path


# Two jobs that take long enough to be killed after a checkpoint.
LONG = ('exploration.n_steps=4000', 'exploration.checkpoint_interval=100', 'generation[0].perturb.n_variants=2')


def wait_for_checkpoints(home):
    """Wait until the two jobs of a campaign have written checkpoints; return their processes."""
    scratch = home.folder / '.aiida' / 'scratch'
    wait_for(lambda: len(list(scratch.rglob('checkpoint.npz'))) == 2, 120, 'two checkpoints')
    runners = [
        process
        for process in psutil.process_iter(['cwd', 'cmdline'])
        if (process.info['cwd'] or '').startswith(str(scratch)) and 'job.json' in (process.info['cmdline'] or ())
    ]
    assert len(runners) == 2
    return runners


@pytest.mark.long
@pytest.mark.chaos
def test_a_campaign_whose_daemon_broker_and_workers_were_killed_gives_the_same_result(make_home, config):
    home = make_home()
    campaign = home.submit(config)
    home.wait_for(campaign, r'[12] of 4 done, [12] running')
    victims = home.aiida_processes()
    assert len(victims) >= 3, [one.cmdline() for one in victims]
    for victim in victims:
        victim.send_signal(signal.SIGKILL)
    psutil.wait_procs(victims, timeout=20)
    assert not home.aiida_processes()
    assert 'daemon started' in home('mlip-autopipe', 'resume', campaign).stdout
    home.wait_for(campaign, r'stage\s+finished')

    seeds = home.ask(f"""
        from aiida_mlip_autopipe.calculations.explore import ExplorationCalculation
        campaign = orm.load_node({campaign})
        jobs = [node for node in campaign.called_descendants if isinstance(node, orm.CalcJobNode)]
        print(json.dumps([job.inputs.seed.seed_id for job in jobs if job.process_state.value != 'created']))
    """)
    assert len(seeds) == len(set(seeds)) == 4
    home('mlip-autopipe', 'export', campaign, '-o', 'killed.db')

    undisturbed_home = make_home()
    assert re.search(r'\b12 .*aluminium\.db', undisturbed_home('mlip-autopipe', 'run', config).stdout)
    assert read_content(Path('killed.db')) == read_content(Path('aluminium.db'))


def test_a_paused_job_is_shown_with_the_reason_and_can_be_resumed(make_home, config):
    home = make_home()
    home('verdi', 'config', 'set', 'transport.task_retry_initial_interval', 1)
    home('verdi', 'config', 'set', 'transport.task_maximum_attempts', 2)
    scratch = home.folder / '.aiida' / 'scratch'
    scratch.write_text('a file where a folder must be: no job can be uploaded')
    campaign = home.submit(config)
    text = home.wait_for(campaign, 'paused')
    assert 'Pausing after failed transport task: upload_calculation failed' in text
    assert f'mlip-autopipe resume {campaign}' in text
    # A paused job does not occupy a slot, so all jobs are eventually paused.
    home.wait_for(campaign, r'(?s)(is paused.*){2}')
    assert 'paused' in home('mlip-autopipe', 'status').stdout

    scratch.unlink()
    assert re.search(r'\b[234] jobs resumed', home('mlip-autopipe', 'resume', campaign).stdout)
    home.wait_for(campaign, r'stage\s+finished')
    assert 'nothing was done' in home('mlip-autopipe', 'resume', campaign).stdout


@pytest.mark.chaos
def test_ctrl_c_does_not_stop_the_campaign_and_prints_how_to_follow_it(shared_home, config):
    running = subprocess.Popen(
        [BIN / 'mlip-autopipe', 'run', config], env=shared_home.environment, stdout=subprocess.PIPE, text=True
    )
    for line in running.stdout:
        if line.startswith('['):
            break
    running.send_signal(signal.SIGINT)
    rest, _ = running.communicate(timeout=60)
    assert running.returncode == 130
    campaign = re.search(r"'mlip-autopipe status (\d+) --follow'", rest).group(1)
    followed = shared_home('mlip-autopipe', 'status', campaign, '--follow').stdout
    assert 'finished: 4 of 4 done' in followed


def test_the_launch_script_submits_the_same_campaign_and_its_graph_can_be_drawn(shared_home, config):
    shared_home('verdi', 'daemon', 'start')
    script = Path(__file__).parents[2] / 'workchains' / '02_dataset_from_yaml.py'
    output = shared_home('verdi', 'run', script, config, 'exploration.n_steps=20').stdout
    campaign = re.search(r'DatasetWorkChain<(\d+)>', output).group(1)
    shared_home.wait_for(campaign, r'stage\s+finished')
    tree = shared_home('verdi', 'process', 'status', campaign).stdout
    stages = re.findall(r'(generate_seeds|ExplorationWorkChain|select_frames|export_dataset)<', tree)
    assert stages == ['generate_seeds', *['ExplorationWorkChain'] * 4, 'select_frames', 'export_dataset']
    shared_home('verdi', 'node', 'graph', 'generate', campaign, '--output-format', 'svg', '--output-file', 'graph.svg')
    assert 'DatasetWorkChain' in Path('graph.svg').read_text()
    assert 'mlip_autopipe.dataset' in shared_home('verdi', 'plugin', 'list', 'aiida.workflows').stdout
    assert 'mlip_autopipe.explore' in shared_home('verdi', 'plugin', 'list', 'aiida.calculations').stdout
    assert 'mlip_autopipe.explore' in shared_home('verdi', 'plugin', 'list', 'aiida.parsers').stdout

    table = subprocess.run(
        [BIN / 'mlip-autopipe', 'run', config, '--dry-run'], env=shared_home.environment, capture_output=True, text=True
    ).stdout
    assert re.search(r'seeds\s+4, 32 atoms', table)
    assert re.search(r'force calls\s+1,604', table)
    assert 'nothing was started' in table


def test_setup_is_idempotent_and_does_not_change_other_profiles(make_home):
    home = make_home()
    home(
        'verdi',
        'profile',
        'setup',
        'core.sqlite_dos',
        '-n',
        '--profile-name',
        'mine',
        '--email',
        'a@b.c',
        '--no-use-rabbitmq',
        '--set-as-default',
    )
    before = json.loads((home.folder / '.aiida' / 'config.json').read_text())
    output = home('mlip-autopipe', 'setup', '--calculator', 'emt').stdout
    assert output.count('found') == 3
    assert 'created' not in output
    assert json.loads((home.folder / '.aiida' / 'config.json').read_text()) == before
    assert before['default_profile'] == 'mine'


@pytest.mark.parametrize(
    ('arguments', 'code', 'value'),
    [
        (['run', 'campaign.yaml', '-p', 'nowhere'], Code.PROFILE_MISSING, "'nowhere'"),
        (['run', 'campaign.yaml', 'execution.code=gone@localhost'], Code.CODE_MISSING, "'gone@localhost'"),
        (['run', 'campaign.yaml', 'generation[0].perturb.rattle_A=2'], Code.STRUCTURE_INVALID, 'generation[0]: '),
        (['status', '999999'], Code.CAMPAIGN_MISSING, "'999999'"),
        (['export', 'nothing', '-o', 'x.db'], Code.CAMPAIGN_MISSING, "'nothing'"),
        (['resume', 'nothing'], Code.CAMPAIGN_MISSING, "'nothing'"),
        (['setup', '--calculator', 'emt', '--python', '/nowhere/python'], Code.CODE_BROKEN, '/nowhere/python'),
        (['setup', '--calculator', 'vasp'], Code.SELF_TEST_FAILED, "'vasp'"),
    ],
)
def test_a_user_error_is_reported_on_one_line(shared_home, config, arguments, code, value):
    done = shared_home('mlip-autopipe', *arguments, check=False)
    assert done.returncode == 2, done.stdout + done.stderr
    assert_refused(done.stderr, code, value)
    assert len(done.stderr.splitlines()) == 1


def test_a_repeated_self_test_reports_changes_of_the_environment(shared_home):
    shared_home.ask(
        """
        code = orm.load_code('autopipe-emt@localhost')
        tests = code.base.extras.get('mlip_autopipe_environments')
        tests['emt']['environment']['numpy'] = '1.0.0'
        code.base.extras.set('mlip_autopipe_environments', tests)
        print(json.dumps(list(tests)))
        """
    )
    output = shared_home('mlip-autopipe', 'calculator', 'test', 'autopipe-emt@localhost').stdout
    assert 'numpy 1.0.0 -> ' in output
    assert '->' not in shared_home('mlip-autopipe', 'calculator', 'test', 'autopipe-emt@localhost').stdout
    unknown = shared_home('mlip-autopipe', 'calculator', 'test', 'gone@localhost', check=False)
    assert unknown.returncode == 2
    assert_refused(unknown.stderr, Code.CODE_MISSING, 'gone@localhost')


def test_an_existing_database_is_refused_before_a_campaign_starts(shared_home, config):
    Path('aluminium.db').write_text('precious')
    before = json.loads(shared_home('mlip-autopipe', 'status', '--json').stdout)
    done = shared_home('mlip-autopipe', 'run', config, check=False)
    assert done.returncode == 2
    assert_refused(done.stderr, Code.FILE_EXISTS, 'aluminium.db')
    assert Path('aluminium.db').read_text() == 'precious'
    assert json.loads(shared_home('mlip-autopipe', 'status', '--json').stdout) == before


def test_a_campaign_with_a_kind_from_another_package_finishes(make_home, empty_folder, monkeypatch):
    monkeypatch.setenv('PYTHONPATH', str(MOLECULAR_CRYSTALS))
    home = make_home()
    config = empty_folder / 'ice.yaml'
    # EMT is not suitable for water, but its forces are sufficient for this test.
    config.write_text(
        'name: ice\n'
        'generation:\n'
        '  - {kind: molecular_crystal, n_seeds: 2, perturb: {rattle_A: 0.02}, validation: {cell: as_given}}\n'
        'calculator: {kind: emt}\n'
        'exploration: {temperature_K: 50, timestep_fs: 0.2, n_steps: 10, frame_interval: 2}\n'
        'sampling: {n_structures: 6}\n'
    )
    home('mlip-autopipe', 'run', config)
    with Dataset(empty_folder / 'ice.db') as dataset:
        rows = list(dataset.query())
    assert len(rows) == 6
    assert {row.data['seed']['kind'] for row in rows} == {'molecular_crystal'}
    assert {row.atoms.get_chemical_formula(empirical=True) for row in rows} == {'H2O'}


@pytest.mark.long
@pytest.mark.chaos
def test_a_killed_campaign_is_continued_from_its_checkpoints(make_home, config):
    home = make_home()
    # The run is too long to finish, and it writes a checkpoint every few steps.
    endless = (
        'exploration.n_steps=1000000',
        'exploration.checkpoint_interval=20',
        'generation[0].perturb.n_variants=2',
    )

    def submit():
        output = home('mlip-autopipe', 'run', config, *endless, '--detach').stdout
        return re.search(r'submitted, id (\d+)', output).group(1)

    def wait_for_jobs(campaign, expression):
        """Wait until an expression over ``jobs``, the jobs of a campaign, is not empty, and return its value."""
        code = f"""
            jobs = [job for job in orm.load_node({campaign}).called_descendants if isinstance(job, orm.CalcJobNode)]
            print(json.dumps([{expression}]))
        """
        deadline = time.monotonic() + 120
        while not (found := home.ask(code)):
            assert time.monotonic() < deadline
        return found

    campaign = submit()
    wait_for_jobs(campaign, "job.pk for job in jobs if 'RUNNING' in str(job.get_scheduler_state())")
    done = home('mlip-autopipe', 'kill', campaign).stdout
    assert re.search(r'[12] jobs? .*\b[01] killed', done)
    assert 'Stopped by a user' in home('mlip-autopipe', 'status', campaign).stdout
    assert_refused(home('mlip-autopipe', 'kill', campaign, check=False).stderr, Code.CAMPAIGN_ENDED, campaign)
    stopped = wait_for_jobs(campaign, "job.exit_status for job in jobs if 'checkpoint' in job.outputs")
    assert set(stopped) == {400}

    folders = home.folder / '.aiida' / 'scratch'
    assert list(folders.rglob('job.json'))
    assert re.fullmatch(r'[12] folders? \w+\n', home('mlip-autopipe', 'clean', campaign).stdout)
    assert not list(folders.rglob('job.json'))
    assert re.match(r'0 folders\b', home('mlip-autopipe', 'clean', campaign).stdout)

    again = submit()
    from_cache = 'job.base.caching.is_created_from_cache'
    assert wait_for_jobs(again, f'job.exit_status for job in jobs if {from_cache}')[0] == 400
    assert wait_for_jobs(again, f"job.pk for job in jobs if 'checkpoint' in job.inputs and not {from_cache}")
    home('mlip-autopipe', 'kill', again, '--wait', 1)


def test_an_incomplete_selection_is_reported_at_the_end_and_by_status(shared_home, config):
    changes = ('sampling.n_structures=1000', 'exploration.n_steps=20')
    output = shared_home('mlip-autopipe', 'run', config, *changes).stdout
    warning = r'\b1000\b.* 4 of 4\b'
    assert len(re.findall(warning, output)) == 1
    assert re.search(warning, shared_home('mlip-autopipe', 'status', 'aluminium').stdout)


def test_status_and_report_print_json(shared_home, config):
    shared_home('mlip-autopipe', 'run', config, 'exploration.n_steps=20', 'sampling.n_structures=4')
    status = json.loads(shared_home('mlip-autopipe', 'status', 'aluminium', '--json').stdout)
    progress = status['progress']
    assert (progress['name'], progress['stage'], progress['n_succeeded']) == ('aluminium', 'finished', 4)
    table = json.loads(shared_home('mlip-autopipe', 'status', '--json').stdout)
    assert progress in table
    report = json.loads(shared_home('mlip-autopipe', 'report', str(progress['pk']), '--json').stdout)
    assert (report['dataset']['n_rows'], report['account']['n_seeds_made']) == (4, 4)
    refused = shared_home('mlip-autopipe', 'report', 'aluminium', check=False)
    assert (refused.returncode, refused.stdout) == (2, '')
    assert_refused(refused.stderr, Code.VALUES_INCOMPLETE, '--output', '--json')


@pytest.mark.long
def test_full_trajectories_are_stashed_and_listed_and_clean_keeps_the_only_copies(make_home, config, tmp_path):
    """The copy of one seed fails, because a file has the name of its folder."""
    config.write_text(CONFIG.replace('n_variants: 4', 'n_variants: 2'))
    home = make_home()
    kept = ('exploration.full_trajectory_interval=1', 'exploration.n_steps=60')
    home('mlip-autopipe', 'run', config, *kept)
    listed = home('mlip-autopipe', 'trajectories', 'aluminium').stdout
    assert len(re.findall(r" 1-60 +60 .* in the job's folder +localhost:/", listed)) == 2
    (seed, *_) = re.findall(r'^(\w+) +1-60', listed, re.MULTILINE)
    archive = tmp_path / 'archive'
    archive.mkdir()
    (archive / f'seed_{seed}').touch()

    home('mlip-autopipe', 'run', config, *kept, f'+execution.stash.folder={archive}', '--force')
    status = home('mlip-autopipe', 'status', 'aluminium').stdout
    assert re.search(r"full trajectories: (1 stashed, 1 in the job's folder|1 in the job's folder, 1 stashed)", status)
    assert 'could not be stashed' in status
    (line,) = home('mlip-autopipe', 'trajectories', 'aluminium', '--seed', seed, '--step', 30).stdout.splitlines()[1:]
    assert "in the job's folder" in line
    assert len(list(archive.rglob('*.frames'))) == 1

    first = home.ask("""
        from aiida_mlip_autopipe.workflows.dataset import DatasetWorkChain
        print(json.dumps(sorted(orm.QueryBuilder().append(DatasetWorkChain, project='id').all(flat=True))[0]))
    """)
    cleaned = home('mlip-autopipe', 'clean', first).stdout
    assert re.findall(r'^(\d+) folder', cleaned, re.MULTILINE) == ['1', '1']
    assert '--force' in cleaned


@pytest.mark.long
@pytest.mark.chaos
def test_a_campaign_that_was_killed_through_aiida_is_resumed_from_the_checkpoints_in_its_folders(make_home, config):
    """AiiDA retrieves nothing from a killed job. The process of one job is stopped, so it outlives its job."""
    home = make_home()
    campaign = home.submit(config, *LONG)
    runners = wait_for_checkpoints(home)
    runners[0].send_signal(signal.SIGSTOP)
    home('verdi', 'process', 'kill', campaign)
    home.wait_for(campaign, r'stage\s+failed')
    assert runners[0].is_running()

    output = home('mlip-autopipe', 'resume', campaign, '--wait', 2).stdout
    resumed = re.search(r'submitted again, id (\d+)', output).group(1)
    psutil.wait_procs(runners, timeout=20)
    assert not any(one.is_running() for one in runners)
    assert re.search(rf'resumed as\s+campaign {resumed}', home('mlip-autopipe', 'status', campaign).stdout)
    home.wait_for(resumed, r'stage\s+finished')
    first_steps = home.ask(f"""
        jobs = [job for job in orm.load_node({resumed}).called_descendants if isinstance(job, orm.CalcJobNode)]
        print(json.dumps([
            (job.process_label, job.outputs.result['first_step']) for job in jobs if 'result' in job.outputs
        ]))
    """)
    assert sorted(label for label, _ in first_steps) == ['ExplorationCalculation'] * 2 + ['RecoverCalculation'] * 2
    assert all(step >= 100 for label, step in first_steps if label == 'ExplorationCalculation')
    assert 'nothing was done' in home('mlip-autopipe', 'resume', campaign).stdout
    home('mlip-autopipe', 'export', 'aluminium', '-o', 'killed.db')
    assert '12 of 12 rows identical' in home('mlip-autopipe', 'reproduce', 'killed.db', '--sample', '100%').stdout
    undisturbed_home = make_home()
    undisturbed_home('mlip-autopipe', 'run', config, *LONG)
    assert read_content(Path('killed.db')) == read_content(Path('aluminium.db'))


@pytest.mark.long
@pytest.mark.chaos
def test_a_killed_campaign_is_extended_from_the_checkpoints_in_its_folders(make_home, config):
    """The extension has another seed. The rows are those of a campaign with the same settings from the beginning."""
    home = make_home()
    campaign = home.submit(config, *LONG)
    wait_for_checkpoints(home)
    home('verdi', 'process', 'kill', campaign)
    home.wait_for(campaign, r'stage\s+failed')
    more = 'generation[0].n_seeds=3'
    output = home('mlip-autopipe', 'extend', campaign, more, '--name', 'more').stdout
    assert re.search(r'seeds: 2 kept, 1 new', output), output
    rows = read_rows('more.db')
    assert len(rows) == 12

    first_steps = home.ask("""
        from aiida_mlip_autopipe.workflows.graph import load_campaign
        jobs = [job for job in load_campaign('more').called_descendants if isinstance(job, orm.CalcJobNode)]
        print(json.dumps([(job.process_label, job.outputs.result['first_step']) for job in jobs]))
    """)
    assert sorted(label for label, _ in first_steps) == ['ExplorationCalculation'] * 3 + ['RecoverCalculation'] * 2
    continued = [step for label, step in first_steps if label == 'ExplorationCalculation']
    assert sorted(step >= 100 for step in continued) == [False, True, True]
    assert '12 of 12 rows identical' in home('mlip-autopipe', 'reproduce', 'more.db', '--sample', '100%').stdout

    undisturbed_home = make_home()
    undisturbed_home('mlip-autopipe', 'run', config, *LONG, more, 'name=undisturbed')
    assert read_rows('undisturbed.db') == rows


def read_rows(path):
    """Return the structures of a database with their results, without the names of their campaign."""
    return [content[:6] for content in read_content(Path(path))]
