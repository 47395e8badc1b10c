"""Errors by their code and the values in them; sentences may change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from pydantic import ValidationError

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError, CombinedError, ConfigError


@contextmanager
def refused(code: Code, *values: str) -> Iterator[pytest.ExceptionInfo[Exception]]:
    """Expect an error with a code in whose message each of the values is found.

    Parameters
    ----------
    code
        The code of the error or, where several faults are reported together, of one of them.
    values
        Places, values and names, which the message must have; no words of a sentence.
    """
    with pytest.raises((AutopipeError, ValidationError)) as caught:
        yield caught
    texts = [text for found, text in found_in(caught.value) if found == code]
    assert texts, f'the codes are {[str(found) for found, _ in found_in(caught.value)]}: {caught.value}'
    assert any(all(value in text for value in values) for text in texts), texts


def assert_refused(stderr: str, code: Code, *values: str) -> None:
    """Check that the command line reports an error, in one line with the code and each of the values.

    Parameters
    ----------
    stderr
        The error output of the command.
    code
        The code of the error.
    values
        Places, values and names, which the line must have; no words of a sentence.
    """
    lines = [line for line in stderr.splitlines() if line.endswith(f'  [{code}]')]
    assert any(all(value in line for value in values) for line in lines), stderr


def found_in(error: BaseException) -> list[tuple[Code, str]]:
    """Return the codes in an error, each with its message."""
    if isinstance(error, ConfigError):
        return [(fault.code, str(fault)) for fault in error.faults]
    if isinstance(error, CombinedError):
        return [(one.code, str(one)) for one in error.errors]
    if isinstance(error, ValidationError):
        return [
            (one['ctx']['code'], f'{".".join(map(str, one["loc"]))}: {one["msg"]}')
            for one in error.errors()
            if 'code' in one.get('ctx', {})
        ]
    return [(error.code, str(error))] if isinstance(error, AutopipeError) else []
