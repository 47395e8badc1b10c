"""Set up this machine to run campaigns: a profile, the computer ``localhost`` and tested codes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiida import orm

from aiida_mlip_autopipe.calculators import installed_calculators
from aiida_mlip_autopipe.installation.codes import (
    ensure_code,
    ensure_computer,
    run_self_test,
    self_test_settings,
    store_self_test,
)
from aiida_mlip_autopipe.installation.environments import install_environment
from aiida_mlip_autopipe.installation.profile import ensure_profile


@dataclass(frozen=True)
class TestedCode:
    """A local code whose calculator passed its self-test.

    Attributes
    ----------
    label
        Full label, ``label@localhost``.
    done
        Whether the code was ``found``, ``created`` or ``replaced``.
    report
        The result of the self-test.
    """

    label: str
    done: str
    report: dict[str, Any]


@dataclass(frozen=True)
class SetUp:
    """The setup of this machine, and which parts of it are new.

    Attributes
    ----------
    profile, profile_created
        The AiiDA profile, and whether it was created.
    computer, computer_created
        The computer, and whether it was created.
    codes
        One code per calculator.
    """

    profile: str
    profile_created: bool
    computer: str
    computer_created: bool
    codes: tuple[TestedCode, ...]


def set_up(
    kinds: Sequence[str] | None = None, python: str | None = None, model: str | None = None, profile: str | None = None
) -> SetUp:
    """Create the profile, the computer and the codes of this machine, unless they exist.

    A code with another interpreter is replaced.

    Parameters
    ----------
    kinds
        The calculators; by default, all that are installed in this environment.
    python
        The interpreter of their environment; by default, this one.
    model
        The model to test, for a calculator that ships no model.
    profile
        The profile, as in `ensure_profile`.

    Raises
    ------
    AutopipeError
        If a self-test fails. In that case, nothing is created.
    """
    python = python or sys.executable
    reports = {kind: run_self_test(kind, python, model) for kind in kinds or installed_calculators()}
    loaded, profile_created = ensure_profile(profile)
    computer, computer_created = ensure_computer()
    codes = tuple(_store_tested_code(computer, kind, python, model, report) for kind, report in reports.items())
    return SetUp(loaded.name, profile_created, computer.label, computer_created, codes)


def install_calculator(
    kind: str,
    folder: Path | None = None,
    requirement: str | None = None,
    constraint: Path | None = None,
    model: str | None = None,
) -> TestedCode:
    """Install a calculator in a separate environment on this machine, and create its code.

    Parameters
    ----------
    kind, folder, requirement, constraint
        As in `install_environment`.
    model
        The model to test.

    Raises
    ------
    AutopipeError
        If it cannot be installed, or its self-test fails.
    """
    python = str(install_environment(kind, folder, requirement, constraint))
    report = run_self_test(kind, python, model)
    return _store_tested_code(ensure_computer()[0], kind, python, model, report)


def _store_tested_code(
    computer: orm.Computer, kind: str, python: str, model: str | None, report: dict[str, Any]
) -> TestedCode:
    code, done = ensure_code(computer, kind, python)
    store_self_test(code, self_test_settings(kind, model), report)
    return TestedCode(code.full_label, done, report)
