"""The AiiDA profile and its daemon."""

from __future__ import annotations

import os

from aiida.common.exceptions import ConfigurationError
from aiida.manage import get_manager
from aiida.manage.configuration import Profile, create_profile, get_config, load_profile

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError

DEFAULT_PROFILE = 'mlip-autopipe'


def ensure_profile(name: str | None) -> tuple[Profile, bool]:
    """Load a profile, made on SQLite with the ZeroMQ broker if there is none of that name.

    Parameters
    ----------
    name
        The profile; by default the environment variable ``AIIDA_PROFILE``, then ``mlip-autopipe``. Another profile
        of the user is neither changed nor replaced as the default.

    Returns
    -------
    tuple
        The loaded profile, and whether it was created.
    """
    from aiida.brokers import ZeromqBroker

    name = name or os.environ.get('AIIDA_PROFILE') or DEFAULT_PROFILE
    config = get_config(create=True)
    if name in config.profile_names:
        return load_profile(name), False
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
    # The fail-safe that polls for ended processes runs once a minute by default, for campaigns far too rarely.
    config.set_option('runner.poll.interval', 1, scope=name)
    if is_first:
        config.set_default_profile(name)
    config.store()
    return load_profile(name, allow_switch=True), True


def open_profile(name: str | None) -> Profile:
    """Load an existing profile.

    Parameters
    ----------
    name
        The profile; by default the environment variable ``AIIDA_PROFILE``, then ``mlip-autopipe`` if there is one,
        then AiiDA's default profile.

    Raises
    ------
    AutopipeError
        If there is no such profile.
    """
    try:
        config = get_config()
    except ConfigurationError:
        config = None
    names = config.profile_names if config else []
    wanted = name or os.environ.get('AIIDA_PROFILE')
    if wanted is None and config:
        wanted = DEFAULT_PROFILE if DEFAULT_PROFILE in names else config.default_profile_name
    if wanted is None:
        raise AutopipeError(Code.PROFILE_MISSING, "there is no AiiDA profile; run 'mlip-autopipe setup' first")
    if wanted not in names:
        hint = f'there are {", ".join(names)}' if names else "there is none; run 'mlip-autopipe setup' first"
        raise AutopipeError(Code.PROFILE_MISSING, f'no AiiDA profile {wanted!r}; {hint}')
    return load_profile(wanted)


def ensure_daemon() -> bool:
    """Start the daemon of the loaded profile unless it runs; return whether it was started.

    Raises
    ------
    AutopipeError
        If the profile has no broker or the daemon does not start.
    """
    from aiida.engine import get_daemon_client

    from aiida_mlip_autopipe.aiida_internals import DaemonException, forget_dead_broker, has_live_daemon

    profile = get_manager().get_profile()
    if profile is None or profile.process_control_backend is None:
        raise AutopipeError(
            Code.BROKER_MISSING,
            f'the profile {profile and profile.name!r} has no broker, so no daemon can run; '
            "'verdi profile configure-broker core.zeromq' adds one",
        )
    if has_live_daemon(profile):
        return False
    forget_dead_broker(profile)
    try:
        get_daemon_client(profile.name).start_daemon()
    except DaemonException as error:
        raise AutopipeError(
            Code.DAEMON_FAILED, f'the daemon of the profile {profile.name!r} does not start: {error}'
        ) from error
    return True
