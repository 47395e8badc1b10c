"""Fine-tune a model as a user does, and explore with it."""

import re
from pathlib import Path

import pytest
from ase.build import bulk
from support.errors import assert_refused
from support.home import Home
from support.silicon import write_silicon

from aiida_mlip_autopipe.cli.faults import EXIT_FAULT
from aiida_mlip_autopipe.core.codes import Code

CAMPAIGN = """\
name: silicon
generation:
  - {kind: structures, files: [si.xyz], perturb: {rattle_A: 0.05}}
calculator: {kind: sevennet, model: si.pth, device: cpu}
exploration: {temperature_K: 300, n_steps: 4, frame_interval: 2}
sampling: {kind: random, n_structures: 2}
"""


def test_settings_are_refused_before_the_profile_is_opened(run, empty_folder):
    for arguments, code, words in (
        (['--kind', 'nequip'], Code.KIND_UNKNOWN, ['training.kind', 'nequip']),
        ([], Code.KIND_MISSING, ['training']),
        (['--kind', 'mace'], Code.VALUE_MISSING, ['training.model']),
        (['--kind', 'sevennet', 'training.n_epochs=0'], Code.OUT_OF_RANGE, ['training.n_epochs']),
        (['--kind', 'sevennet', 'training.epochs=3'], Code.KEY_UNKNOWN, ['training.epochs', 'n_epochs']),
        (['--settings', 'absent.yaml'], Code.FILE_MISSING, ['absent.yaml']),
    ):
        done = run('train', 'run', 'si.db', *arguments)
        assert done.exit_code == EXIT_FAULT
        assert_refused(done.stderr, code, *words)
    done = run('train', 'run', 'absent.db', '--kind', 'sevennet')
    assert_refused(done.stderr, Code.FILE_MISSING, 'absent.db')
    done = run('train', 'run', 'si.xyz', '--kind', 'sevennet')
    assert_refused(done.stderr, Code.FILE_SUFFIX, 'si.xyz', 'dataset import')
    Path('si.pth').touch()
    done = run('train', 'run', 'si.db', '--kind', 'sevennet', '-o', 'si.pth')
    assert_refused(done.stderr, Code.FILE_EXISTS, 'si.pth')


@pytest.mark.integration
@pytest.mark.mlip
@pytest.mark.long
@pytest.mark.timeout(1500)
def test_a_model_is_trained_exported_and_used_in_a_campaign(tmp_path_factory, empty_folder):
    home = Home(tmp_path_factory.mktemp('home'))
    try:
        home('mlip-autopipe', 'setup', '--calculator', 'sevennet')
        write_silicon(empty_folder / 'si.db', (4, 2, 0))
        for arguments, code, words in (
            (['si.db', '--kind', 'sevennet', '--model', '7net-mf-0'], Code.CHOICE_UNKNOWN, ['7net-mf-0', '7net-0']),
            (['si.db', '--kind', 'sevennet', 'training.batch_size=5'], Code.VALUE_INVALID, ['batch_size', '5', '4']),
            (['si.db', '--kind', 'mace', '--model', 'si.db'], Code.CODE_MISSING, ['setup --calculator mace']),
        ):
            done = home('mlip-autopipe', 'train', 'run', *arguments, '--dry-run', check=False)
            assert_refused(done.stderr, code, *words)
        plan = home('mlip-autopipe', 'train', 'run', 'si.db', '--kind', 'sevennet', '--dry-run').stdout
        assert ['4 rows' in plan, '2 rows' in plan, 'autopipe-sevennet@localhost' in plan] == [True] * 3
        shown = home(
            *('mlip-autopipe', 'train', 'run', 'si.db', '--kind', 'sevennet', 'training.n_epochs=1', '-o', 'si.pth'),
            seconds=600,
        ).stdout
        assert 'epoch 1 of 1' in shown
        pk = shown.partition('submitted, id ')[2].split()[0]
        assert 'best epoch: 1 of 1' in home('mlip-autopipe', 'train', 'status', pk).stdout
        home('mlip-autopipe', 'train', 'export', pk, '-o', 'again.pth')
        assert Path('again.pth').read_bytes() == Path('si.pth').read_bytes()
        done = home('mlip-autopipe', 'train', 'export', '9999', '-o', 'x.pth', check=False)
        assert_refused(done.stderr, Code.CAMPAIGN_MISSING, '9999', pk)
        bulk('Si', cubic=True).write('si.xyz')
        Path('campaign.yaml').write_text(CAMPAIGN)
        home('mlip-autopipe', 'run', 'campaign.yaml', seconds=600)
        # The campaign uses the node that the training run made, so the graph leads from its rows to the labels.
        users = home.ask(f"""
            trained = orm.load_node({pk}).outputs.trained
            jobs = [link.node.process_label for link in trained.base.links.get_outgoing().all()]
            print(json.dumps(sorted(set(jobs))))
        """)
        assert 'ExplorationCalculation' in users
    finally:
        home('verdi', 'daemon', 'stop', check=False)


@pytest.mark.integration
@pytest.mark.mlip
@pytest.mark.long
@pytest.mark.timeout(2400)
def test_a_training_run_that_is_stopped_and_killed_finishes_after_all_its_epochs(tmp_path_factory, empty_folder):
    home = Home(tmp_path_factory.mktemp('home'))
    try:
        home('mlip-autopipe', 'setup', '--calculator', 'sevennet')
        write_silicon(empty_folder / 'si.db', (12, 2, 0))
        settings = ['training.n_epochs=12', 'training.batch_size=1']
        shown = home('mlip-autopipe', 'train', 'run', 'si.db', '--kind', 'sevennet', *settings, '--detach').stdout
        stopped = re.search(r'submitted, id (\d+)', shown).group(1)
        home.wait_for(stopped, r'epoch [1-9] of 12', 600)
        home('mlip-autopipe', 'kill', stopped)
        assert 'failed' in home('mlip-autopipe', 'train', 'status', stopped).stdout
        shown = home('mlip-autopipe', 'resume', stopped).stdout
        resumed = re.search(r'submitted again, id (\d+)', shown).group(1)
        home.wait_for(resumed, r'epoch [2-9] of 12', 600)
        home('mlip-autopipe', 'explain', resumed)
        for process in home.aiida_processes():
            process.kill()
        home('mlip-autopipe', 'resume', resumed)
        home.wait_for(resumed, r'stage +finished', 900)
        assert 'of 12' in home('mlip-autopipe', 'train', 'status', resumed).stdout
        report = home.ask(f'print(json.dumps(orm.load_node({resumed}).outputs.report.get_dict()))')
        assert [epoch['epoch'] for epoch in report['epochs']] == list(range(1, 13))
        assert len(report['continued_after']) >= 2
        listed = home('mlip-autopipe', 'status').stdout
        assert [pk in listed for pk in (stopped, resumed)] == [True, True]
        home('mlip-autopipe', 'explain', resumed)
    finally:
        home('verdi', 'daemon', 'stop', check=False)
