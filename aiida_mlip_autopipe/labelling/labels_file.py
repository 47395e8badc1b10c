"""The file to which a labelling job appends its labels, one on each line."""

from __future__ import annotations

import json
import os
from pathlib import Path

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.reading.json_text import parse_json
from aiida_mlip_autopipe.labelling.label import Failure, Label, outcome_from_json


class LabelsFile:
    """The labels and failures that a job has computed, by key.

    Parameters
    ----------
    path
        The file. If it exists, its content is read, and a truncated last line, which a killed process leaves, is
        removed.

    Raises
    ------
    AutopipeError
        If the file is damaged.
    """

    def __init__(self, path: Path):
        self.outcomes, size = _read(path)
        """The label or the failure of each key, in the order in which they were computed."""
        self._path = path
        if path.exists() and path.stat().st_size > size:
            os.truncate(path, size)

    @property
    def any_label(self) -> bool:
        """Whether the file has a label, and not only failures."""
        return any(isinstance(one, Label) for one in self.outcomes.values())

    def append(self, key: str, outcome: Label | Failure) -> None:
        """Write a label or a failure, so that it survives the end of the process."""
        with open(self._path, 'a') as file:
            file.write(json.dumps({'key': key} | outcome.to_json(), allow_nan=False) + '\n')
        self.outcomes[key] = outcome


def read_labels(path: Path) -> dict[str, Label | Failure]:
    """Return the labels and failures in a file by key, without a truncated last line.

    Raises
    ------
    AutopipeError
        If the file is damaged.
    """
    return _read(path)[0]


def _read(path: Path) -> tuple[dict[str, Label | Failure], int]:
    """Return the content of a file and the size in bytes of its complete lines."""
    outcomes, size = {}, 0
    for number, line in enumerate(path.read_bytes().splitlines(keepends=True) if path.exists() else ()):
        if not line.endswith(b'\n'):
            break
        try:
            content = parse_json(line)
            if not isinstance(content, dict) or not isinstance(key := content.pop('key', None), str):
                raise ValueError('it has no key')
            outcomes[key] = outcome_from_json(content)
        except ValueError as error:
            reason = ' '.join(str(error).split())
            raise AutopipeError(
                Code.FILE_UNREADABLE, f'{path.name}, line {number + 1}: the label cannot be read: {reason}'
            ) from error
        size += len(line)
    return outcomes, size
