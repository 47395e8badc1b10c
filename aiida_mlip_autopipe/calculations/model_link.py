"""Models that lie on a computer already are linked into a job's folder, not uploaded."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

from aiida import orm

from aiida_mlip_autopipe.exploration.contract import MODEL_FOLDER
from aiida_mlip_autopipe.model_store import find_model

RemoteLink = tuple[str, str, str]


def link_model(calculator: dict[str, Any], computer: orm.Computer) -> tuple[dict[str, Any], list[RemoteLink]]:
    """Return a calculator's settings for the job, and the links that its folder needs.

    Parameters
    ----------
    calculator
        Settings of the calculator.
    computer
        Where the job runs.
    """
    placed = find_model(computer, calculator.get('model_sha256'))
    # A name without a folder means weights that the calculator's package ships.
    if placed is None or '/' not in calculator['model']:
        return calculator, []
    link = str(PurePosixPath(MODEL_FOLDER, PurePosixPath(calculator['model']).name))
    return {**calculator, 'model': link}, [(computer.uuid, placed, link)]
