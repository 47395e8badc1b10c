"""Tests of the tables of error codes and exit codes."""

import re
import sys
from pathlib import Path

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.exit_codes import EXPLANATIONS, explain

sys.path.insert(0, str(Path(__file__).parents[2] / 'docs' / 'extensions'))

from errors_reference import processes, render_codes, render_exit_codes


def labels_of_exit_codes():
    return [
        (process.__name__, label, code)
        for _, process in processes()
        for label, code in process.spec().exit_codes.items()
        if code.status >= 100
    ]


def test_every_error_code_is_listed_with_a_meaning_and_a_remedy():
    rows = re.findall(r'^\| `(\w+)` \| (.+\.) \| (.+\.) \|$', render_codes(), re.MULTILINE)
    assert rows == [(code.value, code.meaning, code.remedy) for code in Code]


def test_every_exit_code_is_listed_with_a_meaning_and_a_remedy():
    found = labels_of_exit_codes()
    assert len({process for process, *_ in found}) == 18
    page = render_exit_codes()
    for process, label, code in found:
        meaning, remedy = explain(process, label)
        assert meaning.endswith('.'), label
        assert remedy.endswith('.'), label
        assert f'| {code.status} | `{label}` | {meaning} | {remedy} |' in page


def test_every_explanation_belongs_to_an_exit_code_that_exists():
    known = {name for process, label, _ in labels_of_exit_codes() for name in (label, f'{process}.{label}')}
    assert EXPLANATIONS.keys() <= known
