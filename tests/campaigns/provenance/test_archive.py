"""A campaign is written to an archive with everything that made it, and such archives are imported."""

from __future__ import annotations

import json
from zipfile import ZipFile

import pytest
from aiida import orm
from aiida.engine import ProcessState
from aiida.manage import get_manager
from aiida.storage.sqlite_temp import SqliteTempBackend
from aiida.tools.archive.abstract import get_format
from support.errors import refused

from aiida_mlip_autopipe.campaigns.provenance.archive import import_archive, write_archive
from aiida_mlip_autopipe.campaigns.provenance.opened import CONTENTS, METADATA, VERSION, open_archive
from aiida_mlip_autopipe.campaigns.provenance.origin import find_origin, open_dataset
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.workflows.graph import CAMPAIGN, load_campaign

pytestmark = pytest.mark.integration


@pytest.fixture(scope='module')
def written(stored_archive, tmp_path_factory):
    """The archive that is written of the stored campaign, read from its archive."""
    path = tmp_path_factory.mktemp('archive') / 'campaign.aiida'
    with open_archive(stored_archive) as identifier:
        n_nodes = write_archive(load_campaign(identifier), path)
        assert n_nodes == orm.QueryBuilder().append(orm.Node).count()
    return path


@pytest.fixture
def empty_profile(tmp_path):
    """Load a temporary profile within the test."""
    manager = get_manager()
    before = manager.get_profile()
    manager.load_profile(SqliteTempBackend.create_profile('empty', filepath=tmp_path), allow_switch=True)
    orm.User(email='somebody@localhost').store()
    yield
    manager.unload_profile()
    manager.load_profile(before, allow_switch=True)


def change(archive, path, members):
    """Copy an archive with some members changed or added."""
    with ZipFile(archive) as source, ZipFile(path, 'w') as target:
        for name in dict.fromkeys([*source.namelist(), *members]):
            target.writestr(name, members.get(name) if name in members else source.read(name))
    return path


def test_an_archive_contains_the_graph_the_dataset_and_the_report_card(written, stored_archive):
    with ZipFile(written) as archive:
        names = archive.namelist()
        assert {CONTENTS, 'report.html', 'report.json'} <= set(names)
        assert len(names) == len(set(names))
        assert json.loads(archive.read('report.json'))['dataset']['n_rows'] == 8
        assert b'<svg' in archive.read('report.html')
        uuid = json.loads(archive.read(CONTENTS))['campaign']
    with open_archive(stored_archive) as identifier:
        assert identifier == uuid
        before = {row.provenance.rank: row.labels['energy'] for row in open_dataset(identifier).rows()}
    with open_archive(written) as identifier:
        opened = open_dataset(identifier)
        assert {row.provenance.rank: row.labels['energy'] for row in opened.rows()} == before
        for row in opened.rows():
            assert find_origin(row, opened.node).campaign.uuid == uuid


def test_an_archive_is_imported_once(written, empty_profile):
    first, second = import_archive(written), import_archive(written)
    assert (first.n_new, second.n_new, second.n_nodes) == (first.n_nodes, 0, first.n_nodes)
    assert first.n_nodes == orm.QueryBuilder().append(orm.Node).count()
    (campaign,) = first.campaigns
    assert (campaign.name, campaign.is_new, second.campaigns[0].is_new) == ('tiny', True, False)
    assert load_campaign(str(campaign.pk)).uuid == campaign.uuid == second.campaigns[0].uuid


def test_running_campaigns_and_unsuitable_files_are_refused(written, tmp_path, empty_profile):
    import_archive(written)
    campaign = load_campaign('tiny')
    existing = tmp_path / 'existing.aiida'
    existing.write_text('existing')
    with refused(Code.FILE_EXISTS, str(existing)):
        write_archive(campaign, existing)
    with refused(Code.FILE_SUFFIX, 'campaign.zip'):
        write_archive(campaign, tmp_path / 'campaign.zip')
    with refused(Code.FOLDER_MISSING, 'nowhere'):
        write_archive(campaign, tmp_path / 'nowhere' / 'campaign.aiida')
    running = orm.WorkChainNode(process_type=CAMPAIGN, label='running').store()
    with refused(Code.CAMPAIGN_RUNNING, str(running.pk)):
        write_archive(running, existing, force=True)
    assert existing.read_text() == 'existing'
    assert [path.name for path in tmp_path.glob('*.aiida')] == ['existing.aiida']


def test_a_killed_process_that_kept_its_checkpoint_is_archived_without_it_and_imported(tmp_path, empty_profile):
    campaign = orm.WorkChainNode(process_type=CAMPAIGN, label='killed')
    campaign.set_process_state(ProcessState.KILLED)
    campaign.store()
    campaign.set_checkpoint('!!python/object:os.system')
    campaign.seal()
    write_archive(campaign, tmp_path / 'killed.aiida')
    assert campaign.checkpoint is not None
    with get_format().open(tmp_path / 'killed.aiida', 'r') as reader:
        (attributes,) = reader.querybuilder().append(orm.WorkChainNode, project='attributes').first()
    assert set(attributes) == {'process_state', 'sealed'}
    assert [one.name for one in import_archive(tmp_path / 'killed.aiida').campaigns] == ['killed']


def test_a_report_card_that_fails_leaves_no_archive(stored_archive, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError('no report')

    monkeypatch.setattr('aiida_mlip_autopipe.campaigns.provenance.archive.write_campaign_report', fail)
    with open_archive(stored_archive) as identifier, pytest.raises(OSError, match='no report'):
        write_archive(load_campaign(identifier), tmp_path / 'campaign.aiida')
    assert not list(tmp_path.iterdir())


def test_an_archive_that_is_damaged_or_unsafe_is_refused_and_nothing_is_imported(written, tmp_path, empty_profile):
    with ZipFile(written) as archive:
        object_name = next(name for name in archive.namelist() if name.startswith('repo/') and name != 'repo/')
        metadata = json.loads(archive.read(METADATA))
        database = archive.read('db.sqlite3')
    end = database.replace(b'"sealed": true', b'"sealer": true')
    assert end != database
    text = tmp_path / 'text.aiida'
    text.write_text('no archive')
    path = tmp_path / 'changed.aiida'
    with refused(Code.ARCHIVE_UNREADABLE, str(text)):
        import_archive(text)
    for code, value, members in (
        (Code.ARCHIVE_UNREADABLE, object_name, {object_name: b'altered'}),
        (Code.ARCHIVE_UNREADABLE, str(path), {'db.sqlite3': b'SQLite format 3\0' + b'x' * 5000}),
        (Code.ARCHIVE_UNREADABLE, str(path), {METADATA: b'{}'}),
        (Code.ARCHIVE_VERSION, 'main_9999', {METADATA: json.dumps(metadata | {VERSION: 'main_9999'})}),
        (Code.ARCHIVE_UNSAFE, '../outside', {'../outside': b'x'}),
        (Code.ARCHIVE_UNSAFE, str(path), {'db.sqlite3': end}),
    ):
        with refused(code, value):
            import_archive(change(written, path, members))
    assert orm.QueryBuilder().append(orm.Node).count() == 0
