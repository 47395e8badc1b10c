"""The codes and the options of a campaign's jobs."""

from collections import Counter

import pytest
from aiida import orm
from support.errors import refused

from aiida_mlip_autopipe.calculators.kinds.mace import MACESettings
from aiida_mlip_autopipe.config.execution import StashSettings
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.jobs.resources import JobResources
from aiida_mlip_autopipe.workflows.dataset import DatasetWorkChain
from aiida_mlip_autopipe.workflows.inputs.codes import (
    choose_code,
    job_codes,
    job_options,
    max_concurrent_jobs,
    stash_resources,
    user_python_path,
)
from aiida_mlip_autopipe.workflows.inputs.job_code import JobCode
from aiida_mlip_autopipe.workflows.inputs.models import model_node


@pytest.fixture(scope='module')
def make_computer(aiida_profile):
    def make(scheduler, label):
        return orm.Computer(
            label=label,
            hostname='nowhere',
            transport_type='core.ssh_async',
            scheduler_type=scheduler,
            workdir='/scratch',
        ).store()

    return make


@pytest.fixture(scope='module')
def slurm(make_computer):
    return make_computer('core.slurm', 'slurm')


@pytest.fixture(scope='module')
def remote_code(slurm):
    return orm.InstalledCode(label='python', computer=slurm, filepath_executable='/usr/bin/python3').store()


ALL = JobResources(
    nodes=2,
    cpus_per_job=8,
    gpus_per_job=1,
    memory_MB=4096,
    max_wallclock_s=7200,
    queue='gpu',
    account='mat',
    scheduler_lines='#SBATCH --constraint=a100',
)


def script_head(computer, resources):
    """Return the header of the submission script that AiiDA's plugin writes for these options."""
    from aiida.schedulers.datastructures import JobTemplate

    options = job_options(resources, computer)
    scheduler = computer.get_scheduler()
    template = JobTemplate()
    template.job_resource = scheduler.create_job_resource(**options['resources'])
    for name in ('queue_name', 'account', 'max_memory_kb', 'max_wallclock_seconds', 'custom_scheduler_commands'):
        setattr(template, name, options.get(name))
    template.rerunnable = options['rerunnable']
    return scheduler._get_submit_script_header(template).splitlines()


def test_a_slurm_script_requests_all_resources(slurm):
    assert {
        '#SBATCH --nodes=2',
        '#SBATCH --cpus-per-task=8',
        '#SBATCH --gres=gpu:1',
        '#SBATCH --mem=4096',
        '#SBATCH --time=02:00:00',
        '#SBATCH --partition=gpu',
        '#SBATCH --account=mat',
        '#SBATCH --constraint=a100',
        '#SBATCH --requeue',
    } <= set(script_head(slurm, ALL))


def test_a_slurm_script_requests_one_hour_and_no_gpu_by_default(slurm):
    head = script_head(slurm, JobResources())
    assert '#SBATCH --time=01:00:00' in head
    assert not any(word in line for line in head for word in ('gres', 'mem', 'partition', 'account'))


def test_the_script_of_another_scheduler_has_the_extra_lines_and_no_slurm_options(make_computer):
    head = script_head(make_computer('core.pbspro', 'pbs'), ALL)
    assert '#SBATCH --constraint=a100' in head
    assert not any('gres' in line for line in head)


def test_on_this_machine_a_job_has_no_wall_time_limit(emt_code):
    options = job_options(JobResources(cpus_per_job=2), emt_code.computer)
    assert 'max_wallclock_seconds' not in options
    assert 'rerunnable' not in options


def test_the_options_contain_no_environment_variables_which_would_be_hashed(emt_code, slurm, monkeypatch):
    monkeypatch.setenv('PYTHONPATH', '/of/the/user')
    for computer in (emt_code.computer, slurm):
        assert 'environment_variables' not in job_options(ALL, computer)


def test_the_python_path_of_the_user_is_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('PYTHONPATH', 'mods:/of/the/user:')
    assert user_python_path() == f'{tmp_path}/mods:/of/the/user'
    monkeypatch.delenv('PYTHONPATH')
    assert user_python_path() == ''


def test_an_additional_code_takes_over_a_fraction_of_the_seeds_and_does_not_affect_the_others():
    seeds = [f'seed_{number}' for number in range(300)]
    before = {seed: choose_code(1, seed, ['a', 'b']) for seed in seeds}
    after = {seed: choose_code(1, seed, ['c', 'b', 'a']) for seed in seeds}
    counts = Counter(after.values())
    assert min(counts.values()) > 70
    assert all(after[seed] in (before[seed], 'c') for seed in seeds)
    assert {seed: choose_code(2, seed, ['a', 'b']) for seed in seeds} != before


def test_the_keys_of_codes_depend_on_code_and_calculator(emt_code, campaign_config):
    label = emt_code.full_label
    codes = [{'code': label}, {'code': label, 'calculator': {'kind': 'lj'}, 'resources': {'cpus_per_job': 2}}]
    emt, lj = job_codes(campaign_config(execution={'codes': codes, 'memory_MB': 100}))
    assert (emt.calculator.kind, lj.calculator.kind) == ('emt', 'lj')
    assert emt.key != lj.key
    assert (emt.resources.memory_MB, lj.resources.memory_MB) == (100, None)
    alone = job_codes(campaign_config(execution={'code': label}))[0]
    assert alone.key == emt.key


def test_the_error_about_a_missing_code_lists_the_codes(emt_code, campaign_config):
    orm.Dict({'a': 'node of another type'}).store()
    with refused(Code.CODE_MISSING, 'execution.code:', "'missing@localhost'", emt_code.full_label):
        job_codes(campaign_config(execution={'code': 'missing@localhost'}))


def test_the_maximum_number_of_concurrent_jobs_is_the_sum_over_the_computers(emt_code, remote_code, campaign_config):
    codes = [
        {'code': emt_code.full_label},
        {'code': remote_code.full_label},
        {'code': remote_code.full_label, 'calculator': {'kind': 'lj'}},
    ]
    config = campaign_config(execution={'codes': codes, 'cpus_per_job': 1000})
    assert max_concurrent_jobs(config.execution, job_codes(config)) == 1 + 50


def test_the_key_of_a_code_depends_on_the_content_of_its_model_and_not_on_its_path(remote_code, tmp_path):
    def key(name, content=b'weights', **changed):
        file = tmp_path / name
        file.write_bytes(content)
        settings = MACESettings(model=str(file), **changed)
        return JobCode(remote_code, settings, JobResources(), model=model_node(settings, remote_code)).key

    assert key('a.model') == key('b.model') == key('c.model', store_model=False)
    assert key('a.model', b'others') != key('b.model')
    assert key('b.model', head='other') != key('b.model')
    # One code may run on two devices in the same campaign.
    assert key('b.model', device='cuda') != key('b.model', device='cpu')


def test_a_code_that_is_listed_twice_with_the_same_model_at_two_paths_is_refused(
    remote_code, campaign_config, tmp_path
):
    for name in ('a.model', 'b.model'):
        (tmp_path / name).write_bytes(b'weights')
    codes = [
        {'code': remote_code.full_label, 'calculator': {'kind': 'mace', 'model': str(tmp_path / name)}}
        for name in ('a.model', 'b.model')
    ]
    with refused(Code.VALUES_EXCLUDE, 'execution.codes[1]'):
        job_codes(campaign_config(execution={'codes': codes}))


def test_a_copy_job_requests_one_core_in_the_queue_of_the_exploration():
    stash = StashSettings(folder='/archive')
    assert stash_resources(stash, ALL) == JobResources(
        queue='gpu', account='mat', scheduler_lines='#SBATCH --constraint=a100'
    )
    transfer = JobResources(queue='transfer')
    assert stash_resources(StashSettings(folder='/archive', resources=transfer), ALL) == transfer


def test_each_code_may_have_a_separate_folder_for_full_trajectories(emt_code, campaign_config):
    label = emt_code.full_label
    codes = [{'code': label}, {'code': label, 'calculator': {'kind': 'lj'}, 'stash': {'folder': '/other'}}]
    config = campaign_config(
        execution={'codes': codes, 'stash': {'folder': '/archive'}}, exploration={'full_trajectory_interval': 1}
    )
    assert [one.stash.folder for one in job_codes(config)] == ['/archive', '/other']


@pytest.mark.integration
def test_seeds_are_distributed_over_codes_and_each_row_has_its_label_source(
    run_campaign, campaign_config, emt_code, tmp_path
):
    from aiida_mlip_autopipe.campaigns.export import write_dataset
    from aiida_mlip_autopipe.generation import generate_seeds
    from aiida_mlip_autopipe.storage import Dataset

    label = emt_code.full_label
    lj = {'kind': 'lj', 'epsilon_eV': 0.05, 'sigma_A': 2.3}
    execution = {'codes': [{'code': label}, {'code': label, 'calculator': lj}]}
    config = campaign_config(execution=execution)
    keys = list(DatasetWorkChain.get_builder_from_config(config)['codes'])

    def uses_both_codes(random_seed):
        seeds = generate_seeds(config.generation, random_seed=random_seed, cutoff_A=config.cutoff_A).seeds
        return len({choose_code(random_seed, seed.seed_id, keys) for seed in seeds}) == 2

    # The keys depend on the path of the interpreter.
    campaign = run_campaign(execution=execution, random_seed=next(filter(uses_both_codes, range(100))))
    assert campaign.is_finished_ok, campaign.exit_message
    ran = {
        job.inputs.seed.seed_id: job.outputs.result['calculator_name']
        for job in campaign.called_descendants
        if isinstance(job, orm.CalcJobNode)
    }
    assert set(ran.values()) == {'emt', 'lj'}
    write_dataset(campaign, tmp_path / 'mixed.db')
    with Dataset(tmp_path / 'mixed.db') as dataset:
        rows = list(dataset.query())
    assert all(row.provenance.label_source == f'mlip:{ran[row.provenance.seed_id]}' for row in rows)
