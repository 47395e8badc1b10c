"""Open an AiiDA archive as a read-only profile, without any of the user's profiles.

AiiDA creates its folder in the home folder when it is imported, so this module imports AiiDA only inside functions.
"""

from __future__ import annotations

import os
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from zipfile import BadZipFile, ZipFile

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError, first_line
from aiida_mlip_autopipe.core.reading.json_text import parse_json

SUFFIX = '.aiida'
METADATA = 'metadata.json'
VERSION = 'export_version'
CONTENTS = 'mlip_autopipe.json'
"""The file in an archive of this program that names its campaign."""


def is_archive(identifier: str) -> bool:
    """Return whether an identifier is the name of an archive."""
    return identifier.endswith(SUFFIX)


@contextmanager
def open_archive(path: Path) -> Iterator[str]:
    """Load an archive as a temporary profile within the block, and yield the uuid of its campaign.

    The archive is not changed. If AiiDA has not been imported yet, its folder is a temporary one, so nothing is written
    to the home folder. A profile that is already loaded is loaded again at the end of the block.

    Parameters
    ----------
    path
        The archive.

    Raises
    ------
    AutopipeError
        If the file does not exist, is not an archive or is damaged, has a different format version, or contains no
        campaign or several; also if reading it within the block shows that it is damaged.
    """
    with _temporary_aiida_folder():
        check_archive(path)

        from aiida.common.exceptions import CorruptStorage
        from aiida.manage import get_manager
        from aiida.storage.sqlite_zip.backend import SqliteZipBackend
        from sqlalchemy.exc import DatabaseError

        manager = get_manager()
        before = manager.get_profile()
        try:
            manager.load_profile(SqliteZipBackend.create_profile(path.absolute()), allow_switch=True)
            yield _find_campaign(path)
        except (BadZipFile, zlib.error, EOFError, CorruptStorage, DatabaseError) as error:
            raise AutopipeError(Code.ARCHIVE_UNREADABLE, f'{path} is damaged: {_reason(error)}') from error
        finally:
            manager.unload_profile()
            if before is not None:
                manager.load_profile(before, allow_switch=True)


def check_archive(path: Path) -> None:
    """Check that a file is an archive that the installed version of AiiDA can read.

    Raises
    ------
    AutopipeError
        If the file does not exist, is not an archive or is damaged, has a different format version, or contains a path
        outside of the archive.
    """
    if not path.exists():
        raise AutopipeError(Code.FILE_MISSING, f'the archive {path} does not exist')
    if not path.is_file():
        raise AutopipeError(Code.NOT_A_FILE, f'{path} is not a file')
    try:
        with ZipFile(path) as archive:
            names = archive.namelist()
            version = parse_json(archive.read(METADATA))[VERSION]
    except (BadZipFile, zlib.error, EOFError, NotImplementedError, KeyError, TypeError, ValueError) as error:
        raise AutopipeError(
            Code.ARCHIVE_UNREADABLE, f'{path} is not an AiiDA archive, or it is damaged: {_reason(error)}'
        ) from error
    for name in names:
        if _leaves_folder(name):
            raise AutopipeError(
                Code.ARCHIVE_UNSAFE, f'{path} contains the path {name!r}, which points outside the archive'
            )
    from aiida.storage.sqlite_zip.migrator import get_schema_version_head

    if version != (expected := get_schema_version_head()):
        raise AutopipeError(
            Code.ARCHIVE_VERSION,
            f'{path} has archive version {str(version)[:40]!r}, but AiiDA reads {expected!r}; if the archive is older, '
            "convert it with 'verdi archive migrate'; if it is newer, update AiiDA",
        )


def _reason(error: Exception) -> str:
    text = first_line(error)
    return text[:1].lower() + text[1:]


def _leaves_folder(name: str) -> bool:
    parts = PurePosixPath(name.replace('\\', '/'))
    return parts.is_absolute() or '..' in parts.parts or ':' in name


@contextmanager
def _temporary_aiida_folder() -> Iterator[None]:
    """Within the block, AiiDA has a temporary folder, unless it has been imported before."""
    if 'aiida' in sys.modules:
        yield
        return
    before = os.environ.get('AIIDA_PATH')
    os.environ['AIIDA_PATH'] = _temporary_folder().name
    try:
        yield
    finally:
        if before is None:
            del os.environ['AIIDA_PATH']
        else:
            os.environ['AIIDA_PATH'] = before


@cache
def _temporary_folder() -> TemporaryDirectory[str]:
    """Return a folder that is removed when the process ends, because AiiDA uses its folder until then."""
    folder = TemporaryDirectory(prefix='mlip-autopipe-')
    Path(folder.name, '.aiida').mkdir()  # otherwise AiiDA prints a warning
    return folder


def _find_campaign(path: Path) -> str:
    """Return the uuid of the campaign of the loaded archive."""
    from aiida_mlip_autopipe.workflows.graph import list_campaigns

    found = [str(node.uuid) for node in list_campaigns()]
    with ZipFile(path) as archive:
        contents = archive.read(CONTENTS) if CONTENTS in archive.namelist() else None
    if contents is not None:
        try:
            uuid = parse_json(contents)['campaign']
        except (KeyError, TypeError, ValueError):
            uuid = None
        if uuid not in found:
            raise AutopipeError(
                Code.ARCHIVE_UNREADABLE, f'{path} is damaged: {CONTENTS} does not name a campaign of the archive'
            )
        return str(uuid)
    if len(found) == 1:
        return found[0]
    reason = 'no campaign' if not found else f'{len(found)} campaigns; import it to read them'
    raise AutopipeError(Code.CAMPAIGN_MISSING, f'the archive {path} contains {reason}')
