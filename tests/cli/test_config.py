import json
import os

from aiida_mlip_autopipe.config import load_config, starter_config


def test_init_writes_a_file_that_check_finds_valid(run, empty_folder):
    result = run('config', 'init')
    assert (result.exit_code, result.stderr) == (0, '')
    assert 'campaign.yaml' in result.stdout
    assert (empty_folder / 'campaign.yaml').read_text() == starter_config()
    assert run('config', 'check', 'campaign.yaml').exit_code == 0


def test_init_overwrites_only_when_forced(run, campaign):
    before = campaign.read_text()
    assert run('config', 'init', str(campaign)).exit_code == 2
    assert campaign.read_text() == before
    assert run('config', 'init', str(campaign), '--force').exit_code == 0
    assert campaign.read_text() == starter_config()
    assert os.listdir() == ['campaign.yaml']


def test_check_says_what_the_file_describes(run, campaign):
    lines = run('config', 'check', 'campaign.yaml', 'exploration.temperature_K=[300,900]').stdout.splitlines()
    told = {line.split()[0]: ' '.join(line.split()[1:]) for line in lines}
    assert told['campaign'] == 'cu_au'
    assert told['seeds'].startswith('3 of kind alloy, Au')
    assert told['calculator'] == 'emt'
    assert told['exploration'] == '1000 steps at 300, 900 K, ensemble auto, a frame every 20 steps'
    assert told['selection'] == '100 of at most 150 frames by environment'
    assert told['dataset'] == 'cu_au.db'
    assert lines[-1] == '✓ campaign.yaml is valid'


def test_check_counts_the_frames_of_the_stages_that_are_sampled(run, campaign):
    result = run('config', 'check', 'campaign.yaml', '+exploration=melt_quench', 'generation[0].n_seeds=1')
    assert '7000 steps in 3 stages at 3000 K' in result.stdout
    assert '100 of at most 250 frames' in result.stdout


def test_check_warns_of_more_structures_than_frames(run, campaign):
    result = run(
        'config',
        'check',
        'campaign.yaml',
        'sampling.n_structures=500',
        'exploration.temperature_K={lowest: 1, highest: 2}',
    )
    assert result.exit_code == 0
    assert '500 of at most 150 frames by environment; there are fewer frames than structures asked for' in result.stdout
    assert 'at 1 to 2 K' in result.stdout


def test_check_tells_a_target_of_coverage(run, campaign):
    result = run('config', 'check', 'campaign.yaml', 'sampling.n_structures=500', 'sampling.coverage_target.score=0.9')
    assert '500 of at most 150 frames by environment, or as few as reach a coverage score of 0.9' in result.stdout


def test_schema_is_json(run):
    assert 'generation' in json.loads(run('config', 'schema').stdout)['properties']


def test_show_prints_the_composed_config_as_a_config(run, campaign, empty_folder):
    overrides = ['sampling.n_structures=7', '+exploration=anneal']
    result = run('config', 'show', 'campaign.yaml', *overrides)
    assert (result.exit_code, result.stderr) == (0, '')
    (empty_folder / 'shown.yaml').write_text(result.stdout)
    assert load_config('shown.yaml') == load_config('campaign.yaml', overrides)
