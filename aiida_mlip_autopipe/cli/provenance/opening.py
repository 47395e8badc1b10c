"""Open the profile or an archive, whichever the first argument of a command names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def refuse_missing_dataset(identifier: str) -> None:
    """Refuse the name of a database that does not exist, before a profile is opened.

    Parameters
    ----------
    identifier
        What identifies a dataset. Only the suffix ``.db`` shows that it is the name of a file.

    Raises
    ------
    AutopipeError
        If it is the name of a database that does not exist.
    """
    from aiida_mlip_autopipe.storage.dataset import refuse_missing

    if identifier.endswith('.db'):
        refuse_missing(Path(identifier))


@contextmanager
def opened(identifier: str, profile: str | None) -> Iterator[str]:
    """Open the profile of the user or, if the identifier is the name of an archive, this archive.

    Modules that import AiiDA must be imported within the block: AiiDA reads its configuration when it is imported.

    Parameters
    ----------
    identifier
        The file of an archive, or what identifies a campaign, a node or a dataset.
    profile
        The profile that the user has chosen.

    Yields
    ------
    str
        The identifier within what has been opened: the uuid of the campaign of the archive, or the unchanged one.

    Raises
    ------
    AutopipeError
        If the archive or the profile cannot be opened, or both are named.
    """
    from aiida_mlip_autopipe.campaigns.provenance.opened import is_archive, open_archive
    from aiida_mlip_autopipe.core.codes import Code
    from aiida_mlip_autopipe.core.errors import AutopipeError

    if not is_archive(identifier):
        from aiida_mlip_autopipe.installation.profile import open_profile

        open_profile(profile)
        yield identifier
        return
    if profile is not None:
        raise AutopipeError(Code.VALUES_EXCLUDE, f'--profile cannot be combined with the archive {identifier}')
    with open_archive(Path(identifier)) as campaign:
        yield campaign
