"""Ctrl-C in the subprocesses of all tests."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    # Tests that run in the background ignore SIGINT, and their subprocesses would inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
