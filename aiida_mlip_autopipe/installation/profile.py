"""The AiiDA profile and its daemon."""

from __future__ import annotations

import os

from aiida.common.exceptions import ConfigurationError, MissingConfigurationError
from aiida.manage import get_manager
from aiida.manage.configuration import Profile, create_profile, get_config, load_profile
from aiida.manage.configuration.config import Config
from aiida.manage.configuration.settings import AiiDAConfigDir
from sqlalchemy.exc import SQLAlchemyError

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError, first_line

DEFAULT_PROFILE = 'mlip-autopipe'


def ensure_profile(name: str | None) -> tuple[Profile, bool]:
    """Load a profile; create it with SQLite and the ZeroMQ broker if it does not exist.

    Parameters
    ----------
    name
        The name; by default the environment variable ``AIIDA_PROFILE``, or ``mlip-autopipe``. A new profile
        becomes AiiDA's default only if it is the first. Other profiles are not changed.

    Returns
    -------
    tuple
        The loaded profile, and whether it was created.
    """
    from aiida.brokers import ZeromqBroker

    name = name or os.environ.get('AIIDA_PROFILE') or DEFAULT_PROFILE
    config = _read_config() or get_config(create=True)
    if name in config.profile_names:
        return _load(name), False
    is_first = not config.profile_names
    create_profile(
        config,
        name=name,
        email='autopipe@localhost',
        storage_backend='core.sqlite_dos',
        storage_config={},
        broker_backend='core.zeromq',
        broker_config=ZeromqBroker.get_default_config(),
    )
    # AiiDA polls for ended processes as a fail-safe. The default of once a minute is too slow for campaigns.
    config.set_option('runner.poll.interval', 1, scope=name)
    if is_first:
        config.set_default_profile(name)
    config.store()
    return _load(name, allow_switch=True), True


def open_profile(name: str | None) -> Profile:
    """Load an existing profile.

    Parameters
    ----------
    name
        The name; by default the environment variable ``AIIDA_PROFILE``, then ``mlip-autopipe`` if it exists, then
        AiiDA's default profile.

    Raises
    ------
    AutopipeError
        If the profile does not exist, or AiiDA's configuration or the storage of the profile cannot be read.
    """
    config = _read_config()
    names = config.profile_names if config else []
    chosen = name or os.environ.get('AIIDA_PROFILE')
    if chosen is None and config:
        chosen = DEFAULT_PROFILE if DEFAULT_PROFILE in names else config.default_profile_name
    if chosen is None:
        raise AutopipeError(Code.PROFILE_MISSING, "no AiiDA profile exists; create one with 'mlip-autopipe setup'")
    if chosen not in names:
        hint = f'existing profiles: {", ".join(names)}' if names else "create one with 'mlip-autopipe setup'"
        raise AutopipeError(Code.PROFILE_MISSING, f'the AiiDA profile {chosen!r} does not exist; {hint}')
    return _load(chosen)


def _read_config() -> Config | None:
    """Return AiiDA's configuration; None if it does not exist."""
    try:
        return get_config()
    except MissingConfigurationError:
        return None
    except Exception as error:  # a damaged file causes various errors
        path = AiiDAConfigDir.get() / 'config.json'
        raise AutopipeError(
            Code.FILE_UNREADABLE,
            f'the configuration of AiiDA, {path}, cannot be read: {first_line(error)}; its folder has older copies',
        ) from error


def _load(name: str, *, allow_switch: bool = False) -> Profile:
    """Load a profile and open its storage."""
    profile = load_profile(name, allow_switch=allow_switch)
    try:
        get_manager().get_profile_storage()
    except (ConfigurationError, SQLAlchemyError) as error:
        raise AutopipeError(
            Code.FILE_UNREADABLE,
            f'the storage of the profile {name!r} cannot be opened: {first_line(error)}; '
            f"update an older storage with 'verdi -p {name} storage migrate', or restore a damaged one from a backup",
        ) from error
    return profile


def is_daemon_running() -> bool:
    """Return whether the daemon of the loaded profile is running."""
    from aiida_mlip_autopipe.aiida_internals import has_live_daemon

    profile = get_manager().get_profile()
    return profile is not None and profile.process_control_backend is not None and has_live_daemon(profile)


def open_profile_if_any(name: str | None) -> Profile | None:
    """Load a profile as `open_profile` does; return None if none is named and none exists.

    Raises
    ------
    AutopipeError
        If a profile is named and does not exist.
    """
    try:
        return open_profile(name)
    except AutopipeError as error:
        if name or os.environ.get('AIIDA_PROFILE') or error.code is not Code.PROFILE_MISSING:
            raise
        return None


def ensure_daemon(*, restart: bool = False) -> bool:
    """Start the daemon of the loaded profile if it is not running or does not work; return whether it was started.

    Parameters
    ----------
    restart
        Whether to restart a daemon that runs. Otherwise, it is restarted only if its workers have lost the broker.

    Raises
    ------
    AutopipeError
        If the profile has no broker or the daemon does not start.
    """
    from aiida_mlip_autopipe.aiida_internals import (
        DaemonException,
        end_orphaned_parts,
        forget_dead_broker,
        has_live_daemon,
        has_lost_broker,
        start_daemon,
        stop_daemon,
    )

    profile = get_manager().get_profile()
    if profile is None or profile.process_control_backend is None:
        raise AutopipeError(
            Code.BROKER_MISSING,
            f'the profile {profile and profile.name!r} has no broker, which the daemon needs; '
            "add one with 'verdi profile configure-broker core.zeromq'",
        )
    if has_live_daemon(profile):
        if not restart and not has_lost_broker(profile):
            return False
        stop_daemon(profile)
    # If only the daemon itself was killed, its workers and broker would never end, and would compete with the new ones.
    end_orphaned_parts(profile)
    forget_dead_broker(profile)
    try:
        start_daemon(profile)
    except DaemonException as error:
        raise AutopipeError(
            Code.DAEMON_FAILED, f'the daemon of the profile {profile.name!r} does not start: {error}'
        ) from error
    return True
