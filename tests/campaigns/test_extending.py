"""A campaign that extends another one reuses its seeds and explorations, and its dataset names it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.engine import ProcessState, run_get_node
from aiida.tools.archive.abstract import get_format
from support.errors import assert_refused, refused
from support.tiny_campaign import CAMPAIGN
from typer.testing import CliRunner

from aiida_mlip_autopipe.campaigns import extending
from aiida_mlip_autopipe.campaigns.account import describe_campaign
from aiida_mlip_autopipe.campaigns.export import read_rows
from aiida_mlip_autopipe.campaigns.extending import mark_extension, plan_extension
from aiida_mlip_autopipe.campaigns.history.explain import explain_campaign
from aiida_mlip_autopipe.campaigns.history.extension import ReusedSteps
from aiida_mlip_autopipe.campaigns.progress import read_progress
from aiida_mlip_autopipe.campaigns.provenance.archive import write_archive
from aiida_mlip_autopipe.campaigns.provenance.origin import find_origin
from aiida_mlip_autopipe.campaigns.provenance.trace import trace_row
from aiida_mlip_autopipe.campaigns.restarts.reuse import Reuse
from aiida_mlip_autopipe.campaigns.resuming import resumed_builder
from aiida_mlip_autopipe.cli.app import app
from aiida_mlip_autopipe.config import validate_config
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.reporting.card import describe_dataset, read_dataset_info, render_card
from aiida_mlip_autopipe.reporting.checksum import content_checksum
from aiida_mlip_autopipe.workflows.dataset import DatasetWorkChain
from aiida_mlip_autopipe.workflows.graph import LABELLING, last_resumed, list_campaigns, resumed_campaigns

pytestmark = pytest.mark.integration

ARRAYS = ('steps', 'positions', 'cells', 'energies', 'forces', 'temperatures')
LONGER = ('exploration.n_steps=40', 'generation[0].n_seeds=3')


def extend(campaign, *overrides):
    extension = plan_extension(campaign, overrides)
    builder = DatasetWorkChain.get_builder_from_config(extension.config, notify=lambda message: None)
    mark_extension(builder, extension.campaign)
    return run_get_node(builder)[1]


@pytest.fixture(scope='module')
def tiny_campaign(run_campaign):
    """A campaign with seeds that no other module has explored, so that nothing else can be reused."""
    return run_campaign(random_seed=21)


@pytest.fixture(scope='module')
def longer(tiny_campaign):
    """The tiny campaign with more steps and one more seed."""
    return extend(tiny_campaign, *LONGER)


@pytest.fixture(scope='module')
def selected(tiny_campaign):
    """The tiny campaign with another selection."""
    return extend(tiny_campaign, 'sampling.kind=random', 'sampling.n_structures=4')


def jobs(campaign):
    return [node for node in campaign.called_descendants if isinstance(node, orm.CalcJobNode)]


def frames(campaign):
    """Return the frames of each seed as arrays."""
    found = {}
    for chain in campaign.called:
        if chain.process_label == 'ExplorationWorkChain':
            legs = [leg for _, leg in sorted(chain.outputs.legs.items())]
            arrays = {name: np.concatenate([leg.get_array(name) for leg in legs]) for name in ARRAYS}
            found[chain.inputs.job.seed.seed_id] = arrays
    return found


@pytest.mark.long
def test_more_steps_continue_the_explorations_and_give_the_frames_of_an_undisturbed_run(
    tiny_campaign, longer, run_campaign
):
    undisturbed = run_campaign(generation=[{**CAMPAIGN['generation'][0], 'n_seeds': 1}], exploration={'n_steps': 40})
    ((seed_id, expected),) = frames(undisturbed).items()
    assert len(expected['steps']) == 20
    for name, array in frames(longer)[seed_id].items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)
    continued = [job for job in jobs(longer) if 'checkpoint' in job.inputs]
    assert {job.inputs.checkpoint.creator.pk for job in continued} == {job.pk for job in jobs(tiny_campaign)}


def test_more_seeds_keep_the_seeds_and_add_others(tiny_campaign, longer):
    assert set(frames(tiny_campaign)) < set(frames(longer))
    assert len(frames(longer)) == 4
    (new,) = (job for job in jobs(longer) if 'checkpoint' not in job.inputs)
    assert new.inputs.seed.seed_id not in frames(tiny_campaign)
    assert not new.base.caching.is_created_from_cache


def test_another_selection_runs_no_exploration(tiny_campaign, selected):
    assert len(jobs(selected)) == 3
    assert all(job.base.caching.is_created_from_cache for job in jobs(selected))
    assert selected.outputs.selection_report['sampler'] == 'random'
    assert len(read_rows(selected)) == 4


def test_the_new_dataset_and_the_graph_name_the_extended_campaign(tiny_campaign, longer):
    rows = read_rows(tiny_campaign)
    expected = {
        'name': 'tiny',
        'uuid': tiny_campaign.uuid,
        'dataset_uuid': tiny_campaign.outputs.dataset.uuid,
        'dataset_checksum': content_checksum(rows),
    }
    assert all(row.data['provenance']['extends'] == expected for row in read_rows(longer))
    assert not any('extends' in row.data['provenance'] for row in rows)
    info = read_dataset_info(read_rows(longer))
    assert [origin['extends'] for origin in info.origins] == [expected] * len(info.origins)
    assert f'uuid {tiny_campaign.uuid}' in render_card(describe_dataset(read_rows(longer)), 'longer')
    assert longer.label == 'tiny-2'
    assert longer.outputs.dataset.creator.inputs.campaign['extends'] == expected
    origin = find_origin(read_rows(longer)[0], longer.outputs.dataset)
    assert trace_row(origin).config.extends == expected


def test_the_reports_of_both_campaigns_show_the_extension(tiny_campaign, longer, selected):
    extends = read_progress(longer).extends
    assert (extends.pk, extends.name, extends.uuid) == (tiny_campaign.pk, 'tiny', tiny_campaign.uuid)
    assert {longer.pk, selected.pk} <= set(read_progress(tiny_campaign).extended_by)
    assert read_progress(tiny_campaign).extends is None
    assert explain_campaign(longer).reused_steps == ReusedSteps(3, 60)
    assert explain_campaign(selected).reused_steps == ReusedSteps(3, 60)
    assert explain_campaign(tiny_campaign).reused_steps == ReusedSteps(0, 0)
    assert describe_campaign(longer)['Extended campaign']['uuid'] == tiny_campaign.uuid
    assert 'Extended campaign' not in describe_campaign(tiny_campaign)


def test_a_resumed_extension_still_extends_the_campaign(tiny_campaign, longer):
    builder = resumed_builder(longer)
    assert (builder.extends, builder.resumes) == (tiny_campaign.uuid, longer.uuid)
    assert builder.campaign['extends']['uuid'] == tiny_campaign.uuid


def test_jobs_of_the_extended_campaign_may_be_recovered(tiny_campaign, longer):
    assert [one.pk for one in resumed_campaigns(longer.uuid)] == [longer.pk, tiny_campaign.pk]
    explorations = [node for node in longer.called if node.process_label == 'ExplorationWorkChain']
    assert {node.get_metadata_inputs()['resumes'] for node in explorations} == {tiny_campaign.uuid}
    assert last_resumed(tiny_campaign).pk == tiny_campaign.pk


def test_an_archive_contains_the_jobs_of_the_extended_campaign(tiny_campaign, longer, tmp_path):
    path = tmp_path / 'longer.aiida'
    write_archive(longer, path)
    with get_format().open(path, 'r') as reader:
        found = set(reader.querybuilder().append(orm.CalcJobNode, project='uuid').all(flat=True))
    assert {job.uuid for job in jobs(tiny_campaign)} | {job.uuid for job in jobs(longer)} <= found


REUSE = Reuse(3, 0, 0, 3, 0, 0, 0, 60, 60, ())


@pytest.mark.parametrize(
    ('overrides', 'expected'),
    [
        (
            LONGER,
            replace(REUSE, n_seeds_new=1, n_repeated=0, n_continued=3, n_steps=160),
        ),
        (('sampling.n_structures=5',), REUSE),
        (('exploration.checkpoint_interval=7',), REUSE),
        (('execution.max_concurrent_jobs=1',), REUSE),
        (
            ('generation[0].n_seeds=1',),
            replace(REUSE, n_seeds_kept=2, n_seeds_dropped=1, n_repeated=2, n_steps_reused=40, n_steps=40),
        ),
        (
            ('generation[2]={kind: structures, files: [al.xyz]}',),
            replace(REUSE, n_seeds_new=1, n_steps=80),
        ),
        (('exploration.temperature_K=600',), replace(REUSE, n_repeated=0, n_restarted=3, n_steps_reused=0)),
        (('exploration.n_steps=10',), replace(REUSE, n_repeated=0, n_restarted=3, n_steps_reused=0, n_steps=30)),
        (
            ('generation[1].exploration={temperature_K: 700}',),
            replace(REUSE, n_repeated=2, n_restarted=1, n_steps_reused=40),
        ),
    ],
)
def test_what_will_be_reused_is_counted(tiny_campaign, campaign_folder, monkeypatch, overrides, expected):
    monkeypatch.chdir(campaign_folder)
    assert plan_extension(tiny_campaign, overrides).reuse == expected


def test_seeds_that_keep_their_temperature_from_a_list_are_reused(tiny_campaign):
    reuse = plan_extension(tiny_campaign, ['exploration.temperature_K=[500,600]']).reuse
    assert reuse.n_repeated + reuse.n_restarted == 3
    assert reuse.n_repeated >= 1
    assert reuse.n_restarted >= 1


def test_with_another_calculator_no_exploration_is_reused(tiny_campaign):
    cutoff = tiny_campaign.inputs.config['calculator']['cutoff_A']
    reuse = plan_extension(tiny_campaign, [f'calculator.cutoff_A={cutoff + 0.5}']).reuse
    assert (reuse.n_seeds_kept, reuse.n_seeds_new, reuse.n_steps_reused) == (0, 3, 0)
    assert len(reuse.reasons) == 2


def test_with_another_number_of_threads_no_exploration_is_reused(tiny_campaign):
    reuse = plan_extension(tiny_campaign, ['execution.cpus_per_job=2', 'sampling.n_structures=5']).reuse
    assert (reuse.n_seeds_kept, reuse.n_restarted, reuse.n_steps_reused) == (3, 3, 0)
    assert 'cpus_per_job' in reuse.reasons[0]


def test_with_another_random_seed_nothing_is_reused(tiny_campaign):
    reuse = plan_extension(tiny_campaign, ['random_seed=8']).reuse
    assert (reuse.n_seeds_kept, reuse.n_seeds_new, reuse.n_seeds_dropped, len(reuse.reasons)) == (0, 3, 3, 1)


@pytest.mark.parametrize(
    'overrides', [(), ('name=other',), ('storage.database=other.db',), ('exploration.n_steps=20',)]
)
def test_an_extension_without_a_change_is_refused(tiny_campaign, overrides):
    with refused(Code.EXTENSION_EMPTY, str(tiny_campaign.pk), 'mlip-autopipe resume', 'mlip-autopipe run'):
        plan_extension(tiny_campaign, overrides)


def test_a_running_campaign_and_a_labelling_run_are_refused(tiny_campaign):
    running = orm.WorkChainNode(process_type=tiny_campaign.process_type)
    running.set_process_state(ProcessState.WAITING)
    running.store()
    with refused(Code.CAMPAIGN_RUNNING, f'mlip-autopipe kill {running.pk}'):
        plan_extension(running, ['exploration.n_steps=40'])
    labelling = orm.WorkChainNode(process_type=LABELLING)
    # The commands that list all campaigns read these inputs.
    labelling.set_metadata_inputs({})
    labelling.store()
    with refused(Code.CAMPAIGN_MISSING, str(labelling.pk)):
        plan_extension(labelling, ['exploration.n_steps=40'])


def test_the_new_campaign_has_another_name_and_another_database(tiny_campaign, longer, selected):
    """Names that campaigns of the profile have are not used again."""
    config = plan_extension(tiny_campaign, ['exploration.n_steps=30']).config
    taken = {campaign.label for campaign in list_campaigns()}
    assert {'tiny', 'tiny-2'} <= taken
    assert config.name not in taken
    assert config.name.startswith('tiny-')
    assert str(config.database) == f'{config.name}.db'
    assert plan_extension(tiny_campaign, ['exploration.n_steps=30'], name='long').config.name == 'long'
    assert plan_extension(longer, ['exploration.n_steps=30']).config.name == config.name
    with refused(Code.WRONG_PATTERN, 'name'):
        plan_extension(tiny_campaign, ['exploration.n_steps=30'], name='a b')


def test_the_database_stays_in_the_folder_of_the_extended_one(tiny_campaign, monkeypatch):
    stored = tiny_campaign.inputs.config.get_dict() | {'storage': {'database': '/data/old.db'}}
    monkeypatch.setattr(extending, '_read_config', lambda campaign: validate_config(stored, Path.cwd()))
    config = plan_extension(tiny_campaign, ['exploration.n_steps=30'], name='new').config
    assert config.database == Path('/data/new.db')
    config = plan_extension(tiny_campaign, ['exploration.n_steps=30', 'storage.database=x.db']).config
    assert config.database == Path('x.db')


def test_the_command_shows_the_plan_and_starts_nothing(tiny_campaign, campaign_folder, monkeypatch):
    monkeypatch.setenv('COLUMNS', '200')
    before = len(list_campaigns())
    done = CliRunner().invoke(app, ['extend', str(tiny_campaign.pk), *LONGER, '--name', 'long', '--dry-run'])
    assert done.exit_code == 0, done.output
    assert f'long extends campaign tiny, id {tiny_campaign.pk}' in done.output
    assert 'seeds: 3 kept, 1 new' in done.output
    assert 'steps: 60 of 160 steps reused' in done.output
    assert len(list_campaigns()) == before


def test_an_unknown_campaign_is_refused_by_the_command():
    done = CliRunner().invoke(app, ['extend', 'no-such-campaign', 'exploration.n_steps=30'])
    assert done.exit_code == 2
    assert_refused(done.stderr, Code.CAMPAIGN_MISSING, 'no-such-campaign')


def test_an_existing_database_is_not_overwritten(tiny_campaign, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path('long.db').write_text('kept')
    done = CliRunner().invoke(app, ['extend', str(tiny_campaign.pk), *LONGER, '--name', 'long'])
    assert done.exit_code == 2
    assert_refused(done.stderr, Code.FILE_EXISTS, 'long.db')
    assert Path('long.db').read_text() == 'kept'
