"""The recipes for the provenance work in order, in one interpreter, with a stored campaign."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.aiida_fixtures import *  # noqa: F403
from support.pages import read_blocks, shows
from support.stored import import_campaign

ROOT = Path(__file__).parents[2]
PAGE = ROOT / 'docs' / 'howto' / 'query_provenance.md'
ARCHIVE = ROOT / 'tests' / 'campaigns' / 'stored' / 'campaign_1.aiida'
N_RECIPES = 10


@pytest.mark.integration
def test_the_recipes_print_what_the_page_shows(aiida_profile, capsys):
    import_campaign(ARCHIVE)
    capsys.readouterr()
    namespace: dict[str, object] = {}
    place, printed, n_shown = '', '', 0
    for block in read_blocks(PAGE):
        if block.language == 'python':
            assert not printed, f'{place}: the page does not show {printed}'
            place = f'{PAGE.name}:{block.line}'
            exec(compile('\n' * block.line + block.text, PAGE.name, 'exec'), namespace)
            printed = capsys.readouterr().out
        elif block.language == 'text':
            assert shows(block.text, printed), f'{place} printed\n{printed}\nthe page shows\n{block.text}'
            printed, n_shown = '', n_shown + 1
    assert n_shown == N_RECIPES + 1
