from dataclasses import replace

import pytest
from ase.build import bulk
from ase.db import connect
from ase.io import write
from support.errors import refused

from aiida_mlip_autopipe.config import validate_config
from aiida_mlip_autopipe.config.checks.seeds import check_seeds
from aiida_mlip_autopipe.config.checks.sets import set_warnings
from aiida_mlip_autopipe.config.summary import summarise_config
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.structures.rows.provenance import searchable


@pytest.fixture
def make_config(tmp_path):
    """Return a function that makes a config. Arguments are the files, variants and other fields of each entry."""

    def make(*entries, **sampling):
        generation = []
        for number, (n_files, variants, fields) in enumerate(entries):
            files = []
            for index in range(n_files):
                files.append(f'{number}_{index}.xyz')
                bulk('Cu', a=3.5 + 0.1 * number + 0.01 * index, cubic=True).write(tmp_path / files[-1])
            perturb = {'rattle_A': 0.05, 'n_variants': variants}
            validation = {'cell': 'as_given'}
            generation.append(
                {'kind': 'structures', 'files': files, 'perturb': perturb, 'validation': validation} | fields
            )
        content = {
            'name': 'sets',
            'generation': generation,
            'calculator': {'kind': 'emt'},
            'exploration': {'n_steps': 100, 'frame_interval': 10},
            'sampling': {'kind': 'random', **sampling},
        }
        return validate_config(content, tmp_path)

    return make


def warnings_of(config, **fields):
    return set_warnings(config, check_seeds(config, **fields))


def test_enough_equal_groups_give_no_warning(make_config):
    assert warnings_of(make_config((10, 2, {}), n_structures=40, test_fraction=0.1, valid_fraction=0.1)) == ()
    assert warnings_of(make_config((1, 1, {}), n_structures=40)) == ()


def test_a_set_that_cannot_have_the_requested_size_is_reported_before_the_campaign_runs(make_config):
    # 90 % of the 200 frames have one parent, and the other two parents have 10 each.
    config = make_config((1, 18, {}), (2, 1, {}), n_structures=100, test_fraction=0.3)
    too_few, size = warnings_of(config)
    assert all(text in too_few for text in ('test', '20 of 30'))
    assert all(text in size for text in ('test', '20 ', '60'))
    assert {too_few, size} <= set(summarise_config(config).warnings)


def test_a_single_group_does_not_allow_a_test_set(make_config):
    (warning,) = warnings_of(make_config((1, 10, {}), n_structures=50, test_fraction=0.2))
    assert all(text in warning for text in ('test', '0 of 10'))


def test_the_same_file_in_two_entries_is_one_group(make_config):
    config = make_config((1, 1, {}), (1, 1, {}), n_structures=10, test_fraction=0.5)
    assert warnings_of(config) == ()
    same = [entry.model_copy(update={'files': config.generation[0].files}) for entry in config.generation]
    (warning,) = warnings_of(config.model_copy(update={'generation': tuple(same)}))
    assert '0 of 5' in warning


def test_a_label_that_only_the_test_set_has_is_reported(make_config):
    entries = [(1, 1, {'label': f'label{number}'}) for number in range(5)]
    (warning,) = warnings_of(make_config(*entries, n_structures=20, test_fraction=0.2))
    assert 'label' in warning


def test_groups_of_the_reference_dataset_are_taken_into_account(make_config):
    config = make_config((5, 1, {}), n_structures=20, test_fraction=0.2)
    checked = check_seeds(config)
    assert len(checked.parents[0]) == 5
    assert set_warnings(config, checked) == ()
    (warning,) = set_warnings(config, checked, dict.fromkeys(checked.parents[0], ('train',)))
    assert '0 of 4' in warning


def write_reference(path, sets):
    """Write a database with one structure for each group and set."""
    with connect(path) as database:
        for group, split in sets:
            database.write(bulk('Cu', cubic=True), key_value_pairs={'parent': group, 'split': split})


def test_the_sets_of_the_file_of_the_reference_dataset_are_read(make_config, tmp_path):
    fields = {'n_structures': 20, 'test_fraction': 0.2}
    parents = [searchable(parent) for parent in check_seeds(make_config((5, 1, {}), **fields)).parents[0]]
    write_reference(tmp_path / 'old.db', [(parent, 'train') for parent in parents])
    config = make_config((5, 1, {}), reference_dataset='old.db', **fields)
    (warning,) = summarise_config(config).warnings
    assert '0 of 4' in warning
    # Extended XYZ contains the same keys.
    frames = [bulk('Cu') for _ in parents]
    for atoms, parent in zip(frames, parents, strict=True):
        atoms.info = {'parent': parent, 'split': 'train'}
    write(tmp_path / 'old.xyz', frames)
    sampling = config.sampling.model_copy(update={'reference_dataset': tmp_path / 'old.xyz'})
    assert warnings_of(config.model_copy(update={'sampling': sampling})) == (warning,)


def test_groups_in_several_sets_of_the_reference_dataset_are_reported_even_if_no_set_is_requested(
    make_config, tmp_path
):
    parents = [searchable(parent) for parent in check_seeds(make_config((5, 1, {}))).parents[0]]
    write_reference(tmp_path / 'old.db', [(parents[0], 'train'), (parents[0], 'test'), (parents[1], 'test')])
    config = make_config((5, 1, {}), n_structures=20, reference_dataset='old.db')
    (warning,) = warnings_of(config)
    assert parents[0] in warning
    assert parents[1] not in warning


def test_an_unknown_set_in_the_reference_dataset_is_refused(make_config, tmp_path):
    write_reference(tmp_path / 'old.db', [('parent', 'holdout')])
    config = make_config((5, 1, {}), n_structures=20, reference_dataset='old.db')
    with refused(Code.CHOICE_UNKNOWN, 'sampling.reference_dataset', 'holdout'):
        warnings_of(config)


def test_held_out_labels_are_the_test_set(make_config):
    entries = [(2, 1, {'label': label}) for label in ('cold', 'warm', 'hot')]
    assert warnings_of(make_config(*entries, n_structures=20, test_fraction=0.5, held_out_labels=['hot'])) == ()
    sampling = {'n_structures': 60, 'test_fraction': 0.5, 'held_out_labels': ['hot']}
    (warning,) = warnings_of(make_config(*entries, **sampling))
    assert '20 of 30' in warning


def test_without_the_number_of_seeds_of_an_entry_there_are_no_warnings(make_config):
    config = make_config((1, 10, {}), n_structures=50, test_fraction=0.2)
    checked = check_seeds(config)
    assert set_warnings(config, checked)
    assert set_warnings(config, replace(checked, n_seeds=(None,))) == ()
