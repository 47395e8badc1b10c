"""What made a row, as data, as text and as a drawing."""

from __future__ import annotations

import json
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from support.errors import refused

from aiida_mlip_autopipe.campaigns.provenance.drawing import draw_trace
from aiida_mlip_autopipe.campaigns.provenance.lines import describe_trace
from aiida_mlip_autopipe.campaigns.provenance.opened import open_archive
from aiida_mlip_autopipe.campaigns.provenance.origin import find_origin, open_dataset
from aiida_mlip_autopipe.campaigns.provenance.trace import trace_row
from aiida_mlip_autopipe.campaigns.provenance.traced import RepeatedJob, TracedLabels
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.plain import to_json

pytestmark = pytest.mark.integration


@pytest.fixture(scope='module')
def traced(stored_archive):
    """The trace of a row of the stored campaign, and the row."""
    with open_archive(stored_archive) as identifier:
        opened = open_dataset(identifier)
        row = opened.row(3)
        return trace_row(find_origin(row, opened.node)), row


def test_the_stages_agree_with_the_row(traced):
    trace, row = traced
    provenance = row.provenance
    assert (trace.row.id, trace.row.n_atoms, trace.row.energy_eV) == (3, len(row.atoms), row.labels['energy'])
    selection = trace.selection
    assert (selection.rank, selection.split, selection.sampler) == (provenance.rank, provenance.split, 'fps')
    assert (selection.n_selected, selection.n_candidates) == (8, 30)
    assert selection.settings['test_fraction'] == 0.25
    assert selection.committee_force_disagreement_eV_A > 0
    assert (trace.frame.step, trace.frame.ensemble) == (provenance.step, 'npt')
    (job,) = trace.jobs
    assert (job.uuid, job.computer, job.exit_status) == (provenance.exploration, 'localhost', 0)
    assert job.job_id.isdigit()
    assert job.versions['ase'] == provenance.explored.ase_version
    assert (job.first_step, job.last_step, job.recoveries) == (0, 20, 0)
    assert trace.labels is None
    assert (trace.seed.seed_id, trace.seed.kind) == (provenance.seed_id, row.key_value_pairs['kind'])
    assert trace.seed.settings['kind'] == trace.seed.kind
    assert trace.config.config_sha256 == provenance.config_sha256
    assert trace.config.config['sampling']['n_structures'] == 8
    assert json.loads(to_json(trace))['jobs'][0]['environment']['threads'] == 1


def test_the_text_has_the_stages_from_the_row_to_the_config(traced):
    trace, _ = traced
    assert [stage.title for stage in describe_trace(trace)] == ['row', 'selection', 'frame', 'job', 'seed', 'config']

    attempts = [
        {'change': '', 'converged': False, 'seconds': 2.0, 'message': 'no'},
        {'change': 'mixing', 'seconds': 1.0},
    ]
    record = {'attempts': attempts, 'seconds': 3.0, 'threads': 2}
    changed = replace(
        trace,
        labels=TracedLabels('dft:gpaw:pbe', 'level-1', None, trace.jobs[0], record),
        jobs=(trace.jobs[0], replace(trace.jobs[0], recoveries=2, exit_status=None)),
        repeated_jobs=(RepeatedJob(7, 'uuid', 100, 'lost its folder'),),
        selection=None,
    )
    stages = {stage.title: ' '.join(stage.lines) for stage in describe_trace(changed)}
    titles = ['row', 'labels', 'selection', 'frame', 'job of leg 2', 'job of leg 1', 'repeated jobs', 'seed', 'config']
    assert list(stages) == titles
    assert all(part in stages['labels'] for part in ('level-1', 'mixing', '3.0 s', '2 threads'))
    assert '2 recoveries' in stages['job of leg 2']
    assert 'lost its folder' in stages['repeated jobs']


def test_the_drawing_has_a_box_for_each_stage_and_escapes_foreign_text(traced, tmp_path):
    trace, _ = traced
    foreign = '<b>&amp;\\N \x1b[31m"\x00</b>'
    trace = replace(trace, seed=replace(trace.seed, label=foreign))
    path = tmp_path / 'row.svg'
    draw_trace(trace, path)
    texts = [one.text for one in ElementTree.parse(path).iter('{http://www.w3.org/2000/svg}text')]
    assert set(texts) >= {'row', 'selection', 'frame', 'job', 'seed', 'config'}
    label = next(text for text in texts if 'kind alloy' in text)
    assert '<b>&amp;\\N' in label
    assert '\\x1b[31m"' in label
    with refused(Code.FILE_EXISTS, str(path)):
        draw_trace(trace, path)
    with refused(Code.FILE_SUFFIX, '.png'):
        draw_trace(trace, tmp_path / 'row.png')


def test_a_missing_graphviz_is_reported_and_leaves_no_file(traced, tmp_path, monkeypatch):
    monkeypatch.setenv('PATH', str(tmp_path))
    with refused(Code.PACKAGE_MISSING, 'dot', 'apt install graphviz'):
        draw_trace(traced[0], tmp_path / 'row.svg')
    assert not (tmp_path / 'row.svg').exists()
