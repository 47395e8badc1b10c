"""Commands that are interrupted, killed, or run at the same time. No row is lost, and no incomplete file is left."""

import signal
from pathlib import Path

import pytest
from support.chaos import DATABASE, LIMIT_S, SMALL, campaign_id, read_content

pytestmark = [pytest.mark.integration, pytest.mark.chaos, pytest.mark.long, pytest.mark.timeout(2400)]


def read_until(process, word):
    """Read the output of a process until a line contains a word; return what was read."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if word in line:
            return ''.join(lines)
    raise AssertionError(f'{word!r} is not in the output:\n' + ''.join(lines))


@pytest.mark.parametrize(
    ('number', 'stage'),
    [
        (signal.SIGINT, 'submitted'),
        (signal.SIGINT, 'generation'),
        (signal.SIGINT, 'exploration'),
        (signal.SIGINT, 'sampling'),
        (signal.SIGINT, 'storage'),
        (signal.SIGKILL, 'submitted'),
        (signal.SIGKILL, 'exploration'),
    ],
)
def test_a_campaign_continues_without_its_command(machine, folder, undisturbed_small, stage, number):
    running = machine.start('run', 'campaign.yaml', *SMALL)
    output = read_until(running, stage)
    running.send_signal(number)
    rest, _ = running.communicate(timeout=60)
    campaign = campaign_id(output)
    if number == signal.SIGINT:
        assert running.returncode == 130, output + rest
        assert f'mlip-autopipe status {campaign} --follow' in rest
        assert 'Traceback' not in rest
    assert not Path(DATABASE).exists()
    machine.finish(campaign)
    assert machine.content(campaign, folder) == undisturbed_small


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGKILL], ids=['Ctrl-C', 'SIGKILL'])
def test_a_command_that_ends_before_the_submission_leaves_nothing(machine, folder, undisturbed_small, number):
    before = machine.stages()
    running = machine.start('run', 'campaign.yaml', *SMALL)
    read_until(running, 'daemon started')
    running.send_signal(number)
    rest, _ = running.communicate(timeout=60)
    assert running.returncode == (130 if number == signal.SIGINT else -signal.SIGKILL), rest
    assert 'Traceback' not in rest
    assert machine.stages() == before
    output = machine('mlip-autopipe', 'run', 'campaign.yaml', *SMALL, seconds=LIMIT_S).stdout
    assert machine.content(campaign_id(output), folder) == undisturbed_small
    assert read_content(Path(DATABASE)) == undisturbed_small


def test_two_simultaneous_runs_of_a_campaign_give_identical_datasets(machine, folder, undisturbed_small):
    databases = [folder / 'first.db', folder / 'second.db']
    running = [machine.start('run', 'campaign.yaml', *SMALL, f'storage.database={path}') for path in databases]
    for process in running:
        output, _ = process.communicate(timeout=LIMIT_S)
        assert process.returncode == 0, output
    assert read_content(databases[0]) == read_content(databases[1]) == undisturbed_small


def test_of_two_simultaneous_runs_with_the_same_database_one_is_kept(machine, folder, undisturbed_small):
    running = [machine.start('run', 'campaign.yaml', *SMALL) for _ in range(2)]
    outputs = [process.communicate(timeout=LIMIT_S)[0] for process in running]
    assert sorted(process.returncode for process in running) == [0, 2], outputs
    assert read_content(Path(DATABASE)) == undisturbed_small
    assert sorted(path.name for path in folder.iterdir()) == ['al.xyz', DATABASE, 'campaign.yaml']
    for output in outputs:
        assert machine.content(campaign_id(output), folder) == undisturbed_small


def test_two_campaigns_at_once_do_not_affect_each_other(machine, folder, undisturbed_small):
    other = machine.submit('campaign.yaml', *SMALL, 'name=other', 'random_seed=4')
    campaign = machine.submit('campaign.yaml', *SMALL)
    for one in (campaign, other):
        machine.finish(one)
    assert machine.content(campaign, folder) == undisturbed_small
    assert len(machine.content(other, folder)) == len(undisturbed_small)
