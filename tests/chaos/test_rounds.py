"""A campaign with rounds is stopped, or everything is killed, in the middle of a round."""

import re
import signal

import pytest
from support.chaos import JOBS, LIMIT_S
from support.cheap_rounds import SECTIONS, write_parents
from support.waiting import wait_for

from aiida_mlip_autopipe.core.yaml_file import yaml_text
from aiida_mlip_autopipe.training.contract import CHECKPOINT_FILE

pytestmark = [
    pytest.mark.integration,
    pytest.mark.chaos,
    pytest.mark.mlip,
    pytest.mark.long,
    pytest.mark.timeout(2400),
]

# Nothing is reused from an earlier campaign, unless it is resumed.
ALONE = {'execution': SECTIONS['execution'] | {'reuse_finished': False}}


@pytest.fixture
def submit(machine, folder):
    """Return a function that submits the cheapest campaign with rounds."""
    machine('mlip-autopipe', 'setup', '--calculator', 'sevennet')
    write_parents(folder)

    def run(random_seed, **training):
        training = SECTIONS['training'] | {'code': 'autopipe-sevennet@localhost'} | training
        config = SECTIONS | ALONE | {'random_seed': random_seed, 'training': training}
        (folder / 'rounds.yaml').write_text(yaml_text(config))
        return machine.submit(folder / 'rounds.yaml')

    return run


def models(machine, campaign):
    """Return the hash of each new model of a campaign."""
    return machine.ask(
        f"""
        models = orm.load_node({campaign}).outputs.rounds.round_1.models
        print(json.dumps({{name: models[name].sha256 for name in models}}))
        """
    )


def test_a_campaign_that_is_stopped_in_each_stage_ends_like_an_undisturbed_one(machine, folder, submit):
    campaign = submit(61)
    for stage in JOBS:
        running = wait_for(lambda stage=stage: machine.part(stage), LIMIT_S, f'a job of the stage {stage}')
        # The job must not end before the status is read. `kill` wakes it.
        machine.kill(running, signal.SIGSTOP)
        status = machine('mlip-autopipe', 'status', campaign).stdout
        assert re.search(rf'stage +{stage}', status), status
        machine('mlip-autopipe', 'kill', campaign)
        assert machine.stages()[campaign].startswith('finished 405')
        output = machine('mlip-autopipe', 'resume', campaign).stdout
        campaign = re.search(r'id (\d+)', output).group(1)
    machine.finish(campaign)
    undisturbed = submit(61)
    machine.finish(undisturbed)
    assert machine.content(campaign, folder) == machine.content(undisturbed, folder)
    assert models(machine, campaign) == models(machine, undisturbed)


def test_a_training_run_that_is_killed_with_the_daemon_is_continued(machine, submit):
    campaign = submit(62, n_epochs=40)
    scratch = machine.folder / '.aiida' / 'scratch'

    def has_checkpoint():
        return machine.part('training') and any(scratch.rglob(CHECKPOINT_FILE))

    wait_for(has_checkpoint, LIMIT_S, 'a checkpoint of a training run')
    machine.kill(machine.part('all'))
    machine('mlip-autopipe', 'resume', campaign)
    machine.finish(campaign)
    continued = machine.ask(
        f"""
        jobs = [one for one in orm.load_node({campaign}).called_descendants if 'checkpoint' in one.inputs]
        print(json.dumps([one.process_label for one in jobs]))
        """
    )
    assert continued
    assert set(continued) == {'TrainingCalculation'}
    undisturbed = submit(62, n_epochs=40)
    machine.finish(undisturbed)
    assert models(machine, campaign) == models(machine, undisturbed)
