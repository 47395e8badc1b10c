"""An archive is opened as a read-only profile, and refused if it cannot be read."""

from __future__ import annotations

import json
import shutil
from zipfile import ZipFile

import pytest
from aiida import orm
from aiida.manage import get_manager
from support.errors import refused

from aiida_mlip_autopipe.campaigns.export import write_dataset
from aiida_mlip_autopipe.campaigns.provenance.opened import CONTENTS, METADATA, VERSION, open_archive
from aiida_mlip_autopipe.campaigns.provenance.origin import find_origin, open_dataset
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.workflows.graph import load_campaign

pytestmark = pytest.mark.integration


@pytest.fixture
def copy_archive(stored_archive, tmp_path):
    """Return a function that copies the archive with some members changed, removed (None) or added."""

    def make(**changes):
        path = tmp_path / 'changed.aiida'
        with ZipFile(stored_archive) as source, ZipFile(path, 'w') as target:
            for name in [*source.namelist(), *(set(changes) - set(source.namelist()))]:
                content = changes[name] if name in changes else source.read(name)
                if content is not None:
                    target.writestr(name, content)
        return path

    return make


def test_a_campaign_is_read_from_its_archive_and_the_profile_is_loaded_again(stored_archive, tmp_path):
    profile, content = get_manager().get_profile().name, stored_archive.read_bytes()
    # Another test may have imported the archive.
    n_nodes = orm.QueryBuilder().append(orm.Node).count()
    with open_archive(stored_archive) as identifier:
        campaign = load_campaign(identifier)
        assert write_dataset(campaign, tmp_path / 'stored.db') == 8
        opened = open_dataset(identifier)
        for row in opened.rows():
            origin = find_origin(row, opened.node)
            assert origin.campaign.uuid == campaign.uuid
            assert origin.seed.seed_id == row.provenance.seed_id
        with pytest.raises(ZeroDivisionError), open_archive(stored_archive):
            _ = 1 / 0
    assert get_manager().get_profile().name == profile
    assert orm.QueryBuilder().append(orm.Node).count() == n_nodes
    assert stored_archive.read_bytes() == content


def test_files_that_are_not_archives_are_refused(copy_archive, stored_archive, tmp_path):
    text, part = tmp_path / 'text.aiida', tmp_path / 'part.aiida'
    text.write_text('no archive')
    part.write_bytes(stored_archive.read_bytes()[:-1000])
    for path in (text, part, copy_archive(**{METADATA: None}), copy_archive(**{METADATA: '[' * 100_000})):
        with refused(Code.ARCHIVE_UNREADABLE, str(path)), open_archive(path):
            pass
    with refused(Code.FILE_MISSING, 'nowhere'), open_archive(tmp_path / 'nowhere.aiida'):
        pass
    with refused(Code.NOT_A_FILE), open_archive(tmp_path):
        pass


def test_a_damaged_archive_is_refused_when_the_damage_is_found(copy_archive, stored_archive, tmp_path):
    for database in (b'SQLite format 3\0' + b'x' * 5000, None):
        with refused(Code.ARCHIVE_UNREADABLE), open_archive(copy_archive(**{'db.sqlite3': database})):
            pass
    path = shutil.copy(stored_archive, tmp_path / 'flipped.aiida')
    with ZipFile(path) as archive:
        objects = [one for one in archive.infolist() if one.filename.startswith('repo/')]
    content = bytearray(path.read_bytes())
    for one in objects:
        content[one.header_offset + 30 + len(one.filename) + one.compress_size // 2] ^= 1
    path.write_bytes(content)
    with refused(Code.ARCHIVE_UNREADABLE, str(path)), open_archive(path) as identifier:
        open_dataset(identifier).rows()


@pytest.mark.parametrize(
    'contents', [b'{"campaign": ', b'[]', b'{}', b'{"campaign": ["x"]}', b'{"campaign": "x"}', b'[' * 100_000, b'\xff']
)
def test_an_archive_that_does_not_name_its_campaign_is_refused(copy_archive, contents):
    with refused(Code.ARCHIVE_UNREADABLE, CONTENTS), open_archive(copy_archive(**{CONTENTS: contents})):
        pass


def test_an_archive_of_another_version_or_with_a_path_outside_of_it_is_refused(copy_archive, stored_archive):
    metadata = json.loads(ZipFile(stored_archive).read(METADATA))
    path = copy_archive(**{METADATA: json.dumps(metadata | {VERSION: 'main_9999'})})
    with refused(Code.ARCHIVE_VERSION, 'main_9999', metadata[VERSION]), open_archive(path):
        pass
    for name in ('../outside', '/outside', 'repo/../../outside', '..\\outside', 'C:outside'):
        with refused(Code.ARCHIVE_UNSAFE, repr(name)), open_archive(copy_archive(**{name: 'x'})):
            pass
