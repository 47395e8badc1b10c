import json
import os

from ase.build import bulk
from ase.io import write
from support.errors import assert_refused

from aiida_mlip_autopipe.config import load_config, starter_config
from aiida_mlip_autopipe.core.codes import Code


def test_init_writes_a_valid_file(run, empty_folder):
    result = run('config', 'init')
    assert (result.exit_code, result.stderr) == (0, '')
    assert 'campaign.yaml' in result.stdout
    assert (empty_folder / 'campaign.yaml').read_text() == starter_config()
    assert run('config', 'check', 'campaign.yaml').exit_code == 0


def test_init_overwrites_a_file_only_with_force(run, campaign):
    before = campaign.read_text()
    assert run('config', 'init', str(campaign)).exit_code == 2
    assert campaign.read_text() == before
    assert run('config', 'init', str(campaign), '--force').exit_code == 0
    assert campaign.read_text() == starter_config()
    assert os.listdir() == ['campaign.yaml']


def test_check_prints_a_summary_of_the_campaign(run, campaign):
    lines = run('config', 'check', 'campaign.yaml', 'exploration.temperature_K=[300,900]').stdout.splitlines()
    summary = {line.split()[0]: ' '.join(line.split()[1:]) for line in lines}
    assert summary['campaign'] == 'cu_au'
    assert all(value in summary['seeds'] for value in ('3 ', 'alloy', 'Au'))
    assert summary['calculator'] == 'emt'
    assert all(value in summary['exploration'] for value in ('1000 steps', '(2 ps)', '300, 900 K', 'auto', '20 steps'))
    assert all(value in summary['selection'] for value in ('100 ', '150 frames', 'environment'))
    assert summary['dataset'] == 'cu_au.db'
    assert 'campaign.yaml' in lines[-1]


def test_check_reports_missing_seeds_and_fails_if_an_entry_has_none(run, empty_folder):
    copper, crowded = bulk('Cu', cubic=True), bulk('Cu', cubic=True)
    copper.set_momenta([[0.1, 0, 0]] * 4)
    crowded.positions[1] = crowded.positions[0] + 0.5
    write('three.traj', [copper, bulk('Cu'), crowded])
    entry = '{kind: structures, files: [%s], validation: {on_failure: skip, cell: as_given}}'
    (empty_folder / 'files.yaml').write_text(f'name: files\ngeneration: [{entry % "three.traj"}]\n')
    result = run('config', 'check', 'files.yaml')
    assert result.exit_code == 0
    found = ' '.join(result.stdout.split())
    assert all(value in found for value in ('1 of 3', '1 discarded', '1 skipped', 'min_distance', 'momenta'))
    write('crowded.traj', crowded)
    (empty_folder / 'none.yaml').write_text(f'name: none\ngeneration: [{entry % "crowded.traj"}]\n')
    for command in (['config', 'check'], ['generate']):
        result = run(*command, 'none.yaml')
        assert result.exit_code == 2
        assert_refused(result.stderr, Code.SEEDS_MISSING, 'generation[0]', 'min_distance')


def test_check_shows_the_pressure_and_the_tension(run, empty_folder):
    load = 'exploration: {ensemble: npt, cell: flexible, pressure_GPa: [0, 2], tension_GPa: {zz: -1, xy: 0.5}}'
    entry = '{kind: alloy, composition: {Cu: 1.0}, n_seeds: 1}'
    (empty_folder / 'load.yaml').write_text(f'name: load\ngeneration: [{entry}]\ncalculator: {{kind: emt}}\n{load}\n')
    result = run('config', 'check', 'load.yaml')
    assert result.exit_code == 0
    shown = ' '.join(result.stdout.split())
    assert 'pressure 0, 2 GPa' in shown
    assert 'zz -1, xy 0.5 GPa' in shown


def test_check_shows_the_members_of_a_committee(run, empty_folder):
    entry = '{kind: alloy, composition: {Cu: 1.0}, n_seeds: 1}'
    committee = 'calculator: {kind: committee, members: [{kind: emt}, {kind: lj, cutoff_A: 5}]}'
    bias = 'exploration: {bias: {strength: 0.1}}'
    (empty_folder / 'members.yaml').write_text(f'name: members\ngeneration: [{entry}]\n{committee}\n{bias}\n')
    assert 'committee of emt, lj' in run('config', 'check', 'members.yaml').stdout


def test_check_says_which_entries_it_did_not_check(run, empty_folder):
    entry = '{kind: alloy, composition: {Cu: 0.5, Au: 0.5}, arrangement: sqs, n_atoms: 108, sqs: {n_steps: 1000000}}'
    (empty_folder / 'sqs.yaml').write_text(f'name: sqs\ngeneration: [{entry}]\n')
    result = run('config', 'check', 'sqs.yaml')
    assert result.exit_code == 0
    assert 'generation[0]' in result.stdout
    assert result.stdout.splitlines()[-1] != '✓ sqs.yaml is valid'


def test_check_says_that_it_did_not_count_the_seeds(run, empty_folder, monkeypatch):
    monkeypatch.setattr('aiida_mlip_autopipe.config.summary.CHECK_TIME_S', 1e-6)
    entry = '{kind: defect, of: {kind: alloy, composition: {Cu: 1.0}}, interstitials: {C: 1}, sites: distinct}'
    (empty_folder / 'distinct.yaml').write_text(f'name: distinct\ngeneration: [{entry}]\n')
    result = run('config', 'check', 'distinct.yaml')
    assert result.exit_code == 0
    assert result.stdout.count('unknown number') == 2
    assert 'None' not in result.stdout


def test_check_counts_the_frames_of_the_sampled_phases(run, campaign):
    result = run('config', 'check', 'campaign.yaml', '+exploration=melt_quench', 'generation[0].n_seeds=1')
    assert all(value in result.stdout for value in ('7000 steps', ' 3 ', '3000 K', '100 of ', '250 frames'))


def test_check_warns_if_more_structures_are_requested_than_frames_exist(run, campaign):
    result = run(
        'config',
        'check',
        'campaign.yaml',
        'sampling.n_structures=500',
        'exploration.temperature_K={min: 1, max: 2}',
    )
    assert result.exit_code == 0
    (selection,) = [line for line in result.stdout.splitlines() if line.startswith('selection')]
    assert all(value in selection for value in ('500 ', '150 frames', 'environment; '))
    assert '1 to 2 K' in result.stdout


def test_check_shows_the_coverage_target(run, campaign):
    result = run('config', 'check', 'campaign.yaml', 'sampling.n_structures=500', 'sampling.coverage_target.score=0.9')
    (selection,) = [line for line in result.stdout.splitlines() if line.startswith('selection')]
    assert all(value in selection for value in ('500 ', '150 frames', '0.9'))
    assert '; ' not in selection


def test_schema_prints_json(run):
    assert 'generation' in json.loads(run('config', 'schema').stdout)['properties']


def test_show_prints_the_composed_config_as_a_config_file(run, campaign, empty_folder):
    overrides = ['sampling.n_structures=7', '+exploration=anneal']
    result = run('config', 'show', 'campaign.yaml', *overrides)
    assert (result.exit_code, result.stderr) == (0, '')
    (empty_folder / 'shown.yaml').write_text(result.stdout)
    assert load_config('shown.yaml') == load_config('campaign.yaml', overrides)
