import os
import signal
import subprocess
import time

import pytest

FIVE_FAULTS = """\
name: five faults
generation:
  - {kind: aloy, composition: {Cu: 1}}
  - {kind: alloy, composition: {Cux: 0.5, Au: 0.5}}
exploration: {temperature_K: -300}
samplign: {n_structures: 5}
"""


def test_five_faults_are_five_lines_and_nothing_is_created(empty_folder, program, run):
    (empty_folder / 'bad.yaml').write_text(FIVE_FAULTS)
    done = subprocess.run([program, 'config', 'check', 'bad.yaml'], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, '')
    lines = done.stderr.splitlines()
    assert len(lines) == 5
    paths = ['name', 'generation[0].kind', 'generation[1].composition.Cux', 'exploration.temperature_K', 'samplign']
    assert [line.partition(': ')[0] for line in lines] == paths
    ends = [
        "'five_faults'?  [wrong_pattern]",
        "'alloy'?  [kind_unknown]",
        "'Cu'?  [element_unknown]",
        '  [out_of_range]',
        "'sampling'?  [key_unknown]",
    ]
    assert all(line.endswith(end) for line, end in zip(lines, ends, strict=True))
    for arguments in (['config', 'show', 'bad.yaml'], ['generate', 'bad.yaml']):
        result = run(*arguments)
        assert (result.exit_code, result.stdout, result.stderr) == (2, '', done.stderr)
    assert os.listdir() == ['bad.yaml']


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        (['config', 'check', 'nowhere.yaml'], 'there is no file nowhere.yaml'),
        (['config', 'check', '.'], '. is a folder, not a file'),
        (['config', 'check', 'campaign.yaml', 'nonsense'], "the override 'nonsense' has none of the forms"),
        (['config', 'check', 'campaign.yaml', '+exploration=anneel'], "there is no preset 'anneel' for exploration"),
        (
            ['config', 'check', 'campaign.yaml', 'exploration.temperature_K=-1'],
            'exploration.temperature_K: got -1; must be',
        ),
        (
            ['config', 'check', 'campaign.yaml', 'calculator.kind=mace', 'calculator.model=a/b.model'],
            'there is no such file',
        ),
        (['config', 'init', 'campaign.yaml'], 'campaign.yaml exists already and is not overwritten without --force'),
        (['config', 'init', '.'], '. is a folder, not a file'),
        (['config', 'init', 'no/file.yaml'], 'there is no folder no for the file file.yaml'),
        (['generate', 'campaign.yaml', '-o', 'seeds.traj'], 'seeds.traj: seeds are written as extxyz'),
        (['generate', 'campaign.yaml', '-o', 'no/seeds.xyz'], 'there is no folder no for the file seeds.xyz'),
        (
            ['config', 'check', 'campaign.yaml', 'generation[0].validation.max_atoms=10'],
            'generation[0]: ',
        ),
    ],
)
def test_what_the_user_can_mend_is_one_sentence_with_status_2(run, campaign, arguments, sentence):
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ''
    assert len(result.stderr.splitlines()) == 1
    assert sentence in result.stderr
    assert sorted(os.listdir()) == ['campaign.yaml']


def test_debug_shows_where_and_keeps_the_status(run, monkeypatch):
    for result in (
        run('--debug', 'config', 'check', 'x.yaml'),
        _with_variable(run, monkeypatch, 'config', 'check', 'x.yaml'),
    ):
        assert result.exit_code == 2
        assert result.stderr.startswith('Traceback (most recent call last)')
        assert result.stderr.endswith(' x.yaml  [file_missing]\n')


def _with_variable(run, monkeypatch, *arguments):
    monkeypatch.setenv('MLIP_AUTOPIPE_DEBUG', '1')
    return run(*arguments)


def test_a_bug_is_one_line_with_status_1_and_a_hint(run, campaign, monkeypatch):
    def broken(*arguments):
        raise KeyError('a bug\nof ours')

    monkeypatch.setattr('aiida_mlip_autopipe.config.load_config', broken)
    result = run('config', 'check', 'campaign.yaml')
    assert (result.exit_code, result.stdout) == (1, '')
    assert result.stderr.startswith('this is a bug of mlip-autopipe: KeyError: ')
    assert result.stderr.endswith('; `mlip-autopipe --debug …` shows where\n')
    assert len(result.stderr.splitlines()) == 1
    debugged = run('--debug', 'config', 'check', 'campaign.yaml')
    assert debugged.exit_code == 1
    assert 'Traceback' in debugged.stderr
    assert '--debug' not in debugged.stderr


def test_a_wrong_command_line_is_a_usage_error(run):
    for arguments in (['nonsense'], ['config', 'check'], ['generate', 'x.yaml', '--nonsense']):
        result = run(*arguments)
        assert result.exit_code == 2
        assert 'Usage: mlip-autopipe' in result.stderr
        assert 'bug' not in result.stderr


def test_ctrl_c_ends_with_status_130_and_leaves_no_file(campaign, program):
    arguments = ['generate', 'campaign.yaml', 'generation[0].n_seeds=1000000']
    process = subprocess.Popen([program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while not any('seeds' in name for name in os.listdir()) and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout, stderr) == (130, '', 'interrupted\n')
    assert os.listdir() == ['campaign.yaml']


def test_a_reader_that_goes_away_is_no_bug(campaign, program):
    shell = f'{program} config schema | head -c 1; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(['bash', '-c', shell], capture_output=True, text=True, check=False)
    assert done.stdout == '{'
    assert 'bug' not in done.stderr
    assert 'Traceback' not in done.stderr
