import shutil

import numpy as np
import pytest
from aiida import orm
from support.errors import refused
from support.pw_runs import crystal, finish_calculations, label_by_emt, layer
from support.rows import make_provenance  # noqa: F401 (a fixture)

from aiida_mlip_autopipe.campaigns.labelling.files import label_from_files
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.hashing import file_sha256
from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.storage import Dataset, export_dataset


@pytest.fixture
def rows(make_provenance, request):  # noqa: F811
    """Return the rows of a crystal and a layer. Those of each test differ, so no test finds nodes of another."""
    names = {'campaign': request.node.name}
    provenance = [make_provenance(seed_id=f'abc{place}', step=10, **names) for place in range(2)]
    return [label_by_emt(atoms, one) for atoms, one in zip((crystal(), layer()), provenance, strict=True)]


@pytest.fixture
def dataset(rows, tmp_path):
    export_dataset(tmp_path / 'al.db', rows)
    return tmp_path / 'al.db'


@pytest.fixture
def calculated(rows, tmp_path):
    folder = finish_calculations(tmp_path / 'runs', rows)
    # Files that are not read are not stored.
    (folder / 'seed-abc0_10' / 'charge-density.dat').write_bytes(b'0' * 1000)
    return folder


def read_rows(path):
    with Dataset(path) as dataset:
        return list(dataset.query())


def n_nodes():
    return orm.QueryBuilder().append(orm.Node).count()


def test_the_graph_connects_the_labelled_dataset_with_the_files_and_the_dataset(aiida_profile, dataset, calculated):
    output = dataset.with_name('dft.db')
    labelled = label_from_files(calculated, dataset, output, store=True)
    assert (labelled.n_rows, labelled.faults) == (2, ())
    assert labelled.node.base.attributes.get('sha256') == file_sha256(output)
    assert labelled.node.base.attributes.get('label_sources') == ['dft:quantum-espresso:lda']
    process = labelled.node.creator
    assert process.process_type == 'aiida.calculations:mlip_autopipe.read_dft_labels'
    assert process.inputs.dataset.base.attributes.get('sha256') == file_sha256(dataset)
    files = process.inputs.files.base.repository
    found = {str(root / name) for root, _, names in files.walk() for name in names}
    assert found == {
        'seed-abc0_10/row.json',
        'seed-abc0_10/pw.out',
        'seed-abc1_10/row.json',
        'seed-abc1_10/pw.out',
    }
    original = (calculated / 'seed-abc0_10' / 'pw.out').read_text()
    assert files.get_object_content('seed-abc0_10/pw.out') == original
    assert process.outputs.report.get_dict() == {'n_rows': 2, 'n_labelled': 2, 'left_out': [], 'warnings': []}
    rows = read_rows(output)
    assert [row.key_value_pairs['label_source'] for row in rows] == ['dft:quantum-espresso:lda'] * 2
    np.testing.assert_array_equal(
        rows[0].data['labels_before']['mlip:emt']['forces'], read_rows(dataset)[0].labels['forces']
    )


def test_the_node_of_the_dataset_is_used_if_the_profile_contains_it(aiida_profile, dataset, calculated):
    node = DatasetData.from_file(dataset).store()
    labelled = label_from_files(calculated, dataset, dataset.with_name('dft.db'), store=True)
    assert labelled.node.creator.inputs.dataset.uuid == node.uuid


def test_the_same_files_are_read_from_the_cache(aiida_profile, dataset, calculated):
    outputs = [dataset.with_name(name) for name in ('a.db', 'b.db')]
    first, second = (label_from_files(calculated, dataset, output, store=True) for output in outputs)
    assert second.node.creator.base.caching.get_cache_source() == first.node.creator.uuid
    assert outputs[0].read_bytes() == outputs[1].read_bytes()


def test_rows_that_are_left_out_are_in_the_report(aiida_profile, dataset, calculated):
    (calculated / 'seed-abc1_10' / 'pw.out').unlink()
    output = dataset.with_name('dft.extxyz')
    before = n_nodes()
    with refused(Code.LABELS_INCOMPLETE, '--skip-failed'):
        label_from_files(calculated, dataset, output, store=True)
    assert n_nodes() == before
    assert not output.exists()
    labelled = label_from_files(calculated, dataset, output, store=True, skip_failed=True)
    assert (labelled.n_rows, [fault.code for fault in labelled.faults]) == (1, [Code.CALCULATION_MISSING])
    report = labelled.node.creator.outputs.report.get_dict()
    assert (report['n_rows'], report['n_labelled']) == (2, 1)
    # The paths are those in the node of the files, and do not depend on this machine.
    assert report['left_out'][0].startswith('seed-abc1_10: pw.out')
    assert not any('/tmp' in text or str(dataset.parent) in text for text in report['left_out'])
    assert output.read_text().count('dft:quantum-espresso:lda') == 1


def test_nothing_is_stored_without_a_profile_or_for_impossible_requests(aiida_profile, dataset, calculated):
    before = n_nodes()
    output = dataset.with_name('dft.db')
    labelled = label_from_files(calculated, dataset, output, store=False)
    assert (labelled.n_rows, labelled.node) == (2, None)
    with refused(Code.FILE_EXISTS, 'dft.db'):
        label_from_files(calculated, dataset, output, store=True)
    with refused(Code.FILE_SUFFIX, 'dft.csv'):
        label_from_files(calculated, dataset, output.with_suffix('.csv'), store=True)
    shutil.rmtree(calculated)
    with refused(Code.FOLDER_MISSING, 'runs'):
        label_from_files(calculated, dataset, output.with_name('new.db'), store=True)
    assert n_nodes() == before


@pytest.mark.parametrize('store', [False, True])
def test_what_the_format_of_the_labelled_dataset_does_not_store_is_reported(aiida_profile, dataset, calculated, store):
    labelled = label_from_files(calculated, dataset, dataset.with_name('dft.extxyz'), store=store)
    assert labelled.n_rows == 2
    # Only the crystal has a fixed atom.
    assert sorted(labelled.remarks.values()) == [1, 2]
