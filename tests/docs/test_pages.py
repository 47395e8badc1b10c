"""Tests of the pages of the documentation: their commands work, and their configs are valid."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from support.pages import Block, read_blocks, shows

from aiida_mlip_autopipe.config import CampaignConfig
from aiida_mlip_autopipe.config.training import TrainingConfig
from aiida_mlip_autopipe.reporting.publication import PublicationFields

DOCS = Path(__file__).parents[2] / 'docs'
PAGES = [*sorted(DOCS.rglob('*.md')), DOCS.parent / 'README.md']
SLOW_TUTORIALS = ('rounds',)
TUTORIALS = [
    pytest.param(page, marks=pytest.mark.long) if page.stem in SLOW_TUTORIALS else page
    for page in sorted((DOCS / 'tutorial').glob('*.md'))
    if page.stem != 'index'
]
# Pages whose commands need no campaign, and pages with calculations that take minutes.
GUIDES = [DOCS / 'howto' / 'import_a_dataset.md']
SLOW_GUIDES = [
    pytest.param(DOCS / 'howto' / f'{name}.md', marks=pytest.mark.long)
    for name in ('extend_a_campaign', 'label_here', 'reproduce_a_row', 'trace_a_row')
]


@dataclass(frozen=True)
class Command:
    """A command of a ``console`` block and the output that the page shows, where … matches any text."""

    text: str
    shown: str


def read_commands(block: Block) -> Iterator[Command]:
    """Yield the commands of a ``console`` block. A backslash at the end of a line continues the command."""
    for part in re.split(r'^\$ ', block.text, flags=re.MULTILINE)[1:]:
        command, rest = [], part.splitlines()
        while rest:
            command.append(rest.pop(0))
            if not command[-1].endswith('\\'):
                break
        yield Command('\n'.join(command), '\n'.join(rest).strip('\n'))


CONFIGS = {
    f'{page.stem}:{block.line}': block.text for page in PAGES for block in read_blocks(page) if block.language == 'yaml'
}


@pytest.mark.parametrize('text', CONFIGS.values(), ids=CONFIGS.keys())
def test_the_configs_on_the_pages_are_valid(text: str) -> None:
    content = yaml.safe_load(text)
    if 'authors' in content:
        PublicationFields.model_validate(content)
        return
    if 'training' in content and 'rounds' not in content:
        TrainingConfig.model_validate(content)
        return
    minimal = {'name': 'shown', 'generation': [{'kind': 'alloy', 'composition': {'Cu': 0.5, 'Au': 0.5}}]}
    # Without a folder, the files in the config are not checked.
    CampaignConfig.model_validate(minimal | content)


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Provide an empty home folder without an AiiDA profile, and stop the daemon afterwards."""
    programs = str(Path(sys.executable).parent)
    # Programs of trainers in separate environments come last in PATH.
    trainers = Path(os.environ.get('MLIP_AUTOPIPE_MACE_PYTHON', programs)).parent
    kept = {name: value for name, value in os.environ.items() if not name.startswith('AIIDA')}
    home = {'HOME': str(tmp_path / 'home'), 'AIIDA_PATH': str(tmp_path / 'home'), 'XDG_CONFIG_HOME': ''}
    environment = {
        **kept,
        **home,
        'PATH': os.pathsep.join([programs, os.environ['PATH'], str(trainers)]),
        'COLUMNS': '120',
        'NO_COLOR': '1',
    }
    (tmp_path / 'home').mkdir()
    yield environment
    subprocess.run(['verdi', 'daemon', 'stop'], env=environment, capture_output=True, timeout=60, check=False)


@pytest.mark.integration
@pytest.mark.timeout(1800)
@pytest.mark.parametrize('page', [*TUTORIALS, *GUIDES, *SLOW_GUIDES], ids=lambda page: page.stem)
def test_the_commands_of_a_tutorial_work_in_order(page: Path, environment: dict[str, str], tmp_path: Path) -> None:
    if 'mace_run_train' in page.read_text() and 'MLIP_AUTOPIPE_MACE_PYTHON' not in os.environ:
        pytest.skip('MACE is not installed in a separate environment')
    folder = tmp_path / 'work'
    folder.mkdir()
    for block in read_blocks(page):
        place = f'{page.name}:{block.line}'
        if block.caption:
            (folder / block.caption).write_text(block.text)
        elif block.language == 'python':
            _run([sys.executable, '-c', block.text], '', place, folder, environment)
        elif block.language == 'console':
            for command in read_commands(block):
                _run(['bash', '-c', command.text], command.shown, place, folder, environment)


def _run(command: list[str], shown: str, place: str, folder: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f'{place}: {command[-1]}\nended with {done.returncode}\n{done.stdout}'
    assert shows(shown, done.stdout), f'{place}: {command[-1]}\nprinted\n{done.stdout}\nthe page shows\n{shown}'
