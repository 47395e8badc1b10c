"""Files that are damaged, or whose writer is killed or has no space. No incomplete file has its final name."""

import os
import signal
import sqlite3
import subprocess
import sys

import pytest
from support.chaos import SmallDisk
from support.errors import assert_refused
from typer.testing import CliRunner

from aiida_mlip_autopipe.cli.app import app
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.storage import Dataset
from aiida_mlip_autopipe.storage.formats.export import convert_rows

pytestmark = pytest.mark.chaos

# Ends its process after half of the rows, without any cleanup.
KILLED_WRITER = """
import os, signal, sys
from pathlib import Path
from aiida_mlip_autopipe.storage import Dataset
from aiida_mlip_autopipe.storage.formats.export import convert_rows

def half():
    with Dataset(Path('in.db')) as dataset:
        for row in dataset.query():
            if row.id > 3:
                os.kill(os.getpid(), signal.SIGKILL)
            yield row

convert_rows(Path(sys.argv[1]), half(), overwrite=True)
"""


@pytest.fixture
def dataset(tmp_path, monkeypatch, make_rows):
    """Work in a folder with a dataset of six rows; return its path."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / 'in.db'
    with Dataset(path, create=True) as dataset:
        dataset.create(make_rows(6))
    return path


def run(*arguments):
    return CliRunner().invoke(app, [str(one) for one in arguments], prog_name='mlip-autopipe')


def ids(path):
    with Dataset(path) as dataset:
        return [row.id for row in dataset.query()]


@pytest.mark.parametrize('name', ['out.db', 'out.extxyz'])
def test_a_killed_writer_leaves_the_earlier_file(dataset, tmp_path, name):
    with Dataset(dataset) as rows:
        convert_rows(tmp_path / name, list(rows.query())[:2], overwrite=False)
    before = (tmp_path / name).read_bytes()
    done = subprocess.run([sys.executable, '-c', KILLED_WRITER, name], check=False, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert (tmp_path / name).read_bytes() == before
    visible = [path for path in os.listdir() if not path.startswith('.')]
    assert sorted(visible) == ['in.db', name]


@pytest.mark.parametrize(
    ('fraction', 'code'),
    [(0, Code.DATASET_EMPTY), (0.1, Code.FILE_UNREADABLE), (0.5, Code.FILE_UNREADABLE), (0.9, Code.FILE_UNREADABLE)],
)
def test_a_truncated_dataset_is_refused(dataset, fraction, code):
    content = dataset.read_bytes()
    dataset.write_bytes(content[: int(fraction * len(content))])
    done = run('dataset', 'info', dataset)
    assert done.exit_code == 2, done.stdout
    assert_refused(done.stderr, code)
    assert len(done.stderr.splitlines()) == 1


def test_a_dataset_that_is_read_while_it_is_replaced_is_read_completely(dataset, make_rows):
    with sqlite3.connect(dataset) as reader:
        rows = reader.execute('SELECT id FROM systems')
        assert rows.fetchone() == (1,)
        convert_rows(dataset, make_rows(2), overwrite=True)
        assert rows.fetchall() == [(2,), (3,), (4,), (5,), (6,)]
    assert ids(dataset) == [1, 2]


@pytest.mark.parametrize('size_kB', [8, 80])
def test_a_full_disk_at_export_leaves_no_file(dataset, tmp_path, size_kB):
    target = tmp_path / 'target'
    target.mkdir()
    with SmallDisk(target, size_kB) as disk, Dataset(dataset) as rows:
        done = run('dataset', 'convert', dataset, '-o', target / 'out.db')
        assert done.exit_code == 2
        assert_refused(done.stderr, Code.FILE_UNWRITABLE, str(target / 'out.db'))
        assert os.listdir(target) == []
        disk.resize(10_000)
        assert convert_rows(target / 'out.db', rows.query(), overwrite=False).n_rows == 6
