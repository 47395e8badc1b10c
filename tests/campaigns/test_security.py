"""A campaign with HTML in its config and an API key in its environment."""

from __future__ import annotations

import re
from pathlib import Path
from zipfile import ZipFile, is_zipfile

import pytest
from aiida.manage.configuration import get_config
from support.tiny_campaign import CAMPAIGN

from aiida_mlip_autopipe.campaigns.export import read_rows, write_dataset
from aiida_mlip_autopipe.campaigns.provenance.archive import write_archive
from aiida_mlip_autopipe.campaigns.provenance.drawing import draw_trace
from aiida_mlip_autopipe.campaigns.provenance.origin import find_origin
from aiida_mlip_autopipe.campaigns.provenance.trace import trace_row
from aiida_mlip_autopipe.campaigns.report import write_campaign_report
from aiida_mlip_autopipe.reporting.card import write_card

pytestmark = pytest.mark.integration

KEY = 'thisIsASecretKeyOf32Characters42'
HTML = '<script>alert(1)</script>'


@pytest.fixture(scope='module')
def files(run_campaign, tmp_path_factory):
    """Run the campaign, and return a folder with everything that can be written about it and the job folders."""
    folder = tmp_path_factory.mktemp('files')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('MP_API_KEY', KEY)
        patch.setenv('PMG_MAPI_KEY', KEY)
        generation = [{**CAMPAIGN['generation'][0], 'label': HTML}]
        campaign = run_campaign(generation=generation)
        assert campaign.is_finished_ok, campaign.exit_message
        # The config allows no such name, but an archive from elsewhere can contain one.
        campaign.label = HTML
        write_dataset(campaign, folder / 'rows.db')
        write_archive(campaign, folder / 'campaign.aiida')
        write_campaign_report(campaign, folder / 'report.html')
        rows = read_rows(campaign)
        write_card(folder / 'card.md', rows, config=f'# ```\n# {HTML}\n```\n{HTML}\n', version=HTML)
        draw_trace(trace_row(find_origin(rows[0], campaign.outputs.dataset)), folder / 'row.svg')
    for job in campaign.called_descendants:
        if hasattr(job, 'get_remote_workdir') and job.get_remote_workdir():
            (folder / job.uuid).symlink_to(job.get_remote_workdir())
    return folder


def contents(path):
    """Yield the names and the contents of all files of a folder, also of those in archives and behind links."""
    for file in _files(path):
        yield str(file), file.read_bytes()
        if is_zipfile(file):
            with ZipFile(file) as archive:
                for name in archive.namelist():
                    yield f'{file}/{name}', archive.read(name)


def _files(path):
    for one in sorted(path.iterdir()):
        if one.is_dir():
            yield from _files(one)
        elif one.is_file():
            yield one


def test_an_api_key_is_stored_nowhere(files):
    """The graph, the logs of AiiDA, the job folders, and all files that are written from them are searched."""
    searched = [*contents(files), *contents(Path(get_config().dirpath))]
    assert [name for name, content in searched if KEY.encode() in content] == []
    # The same search finds a text of the config in the graph, in the dataset and in the archive.
    found = {Path(name).name for name, content in searched if b'alert(1)' in content}
    assert {'rows.db', 'database.sqlite', 'db.sqlite3'} <= found
    assert [name for name, _ in searched if name.endswith('_aiidasubmit.sh')]


@pytest.mark.parametrize('name', ['report.html', 'card.md', 'row.svg'])
def test_html_is_escaped(files, name):
    """Only a code block of Markdown, which is shown literally, may contain it. Its text cannot end the block."""
    text = re.sub(r'^(`{3,})yaml\n.*?^\1$', '', (files / name).read_text(), flags=re.DOTALL | re.MULTILINE)
    assert 'alert(1)' in text
    assert HTML not in text
    assert not re.search(r'alert\(1\)</', text)
