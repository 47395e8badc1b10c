"""Settings of all tests: their distribution over workers, and Ctrl-C in their subprocesses."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest


def pytest_configure() -> None:
    # Tests that run in the background ignore SIGINT, and their subprocesses would inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests of a file on one worker, and the tests of a folder that use an AiiDA profile too.

    Each such folder has its own profile, and a process can load only one.
    """
    tests = Path(__file__).parent
    for item in items:
        folder = tests / item.path.relative_to(tests).parts[0]
        shared = folder if 'aiida_profile' in getattr(item, 'fixturenames', ()) else item.path
        item.add_marker(pytest.mark.xdist_group(str(shared)))
