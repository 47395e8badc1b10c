"""What all tests share: how they are spread over workers, and that Ctrl-C reaches what they start."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest


def pytest_configure() -> None:
    # Where the tests themselves were started in the background, Ctrl-C is ignored, and what they start inherits that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep on one worker what shares something: the tests of a file, and those of a room with an AiiDA profile.

    A process has one profile loaded, so the rooms that have one each must not take turns.
    """
    tests = Path(__file__).parent
    for item in items:
        room = tests / item.path.relative_to(tests).parts[0]
        shared = room if 'aiida_profile' in getattr(item, 'fixturenames', ()) else item.path
        item.add_marker(pytest.mark.xdist_group(str(shared)))
