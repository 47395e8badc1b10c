import pytest
from support.errors import refused

from aiida_mlip_autopipe.config import config_hash, config_text, validate_config
from aiida_mlip_autopipe.config.checks.seeds import check_seeds
from aiida_mlip_autopipe.config.checks.warnings import campaign_warnings
from aiida_mlip_autopipe.config.labelling import load_labelling
from aiida_mlip_autopipe.core.codes import Code

BASE = {'name': 'a', 'generation': [{'kind': 'alloy', 'lattice': 'fcc', 'composition': {'Cu': 1.0}}]}
EMT = {'kind': 'calculator', 'calculator': {'kind': 'emt'}}


def test_a_campaign_without_labelling_has_no_such_section_and_keeps_its_hash(tmp_path):
    config = validate_config(BASE, tmp_path)
    assert config.labelling is None
    assert 'labelling' not in config.model_dump(mode='json')
    assert 'labelling' not in config_text(config)
    assert config_hash(validate_config({**BASE, 'labelling': None}, tmp_path)) == config_hash(config)
    assert config_hash(validate_config({**BASE, 'labelling': EMT}, tmp_path)) != config_hash(config)


def test_the_shown_config_with_labelling_can_be_read_again(tmp_path):
    config = validate_config({**BASE, 'labelling': EMT}, tmp_path)
    assert validate_config(config.model_dump(mode='json'), tmp_path) == config


@pytest.mark.parametrize(
    ('labelling', 'sections', 'code', 'values'),
    [
        ({'kind': 'emt'}, {}, Code.KIND_UNKNOWN, ('labelling.kind: ', "'emt'", 'gpaw')),
        ({'calculator': {'kind': 'emt'}}, {}, Code.KIND_MISSING, ('labelling', 'calculator')),
        ({**EMT, 'structures_per_job': 0}, {}, Code.OUT_OF_RANGE, ('labelling.structures_per_job: ', '0')),
        ({**EMT, 'max_atom': 5}, {}, Code.KEY_UNKNOWN, ('labelling.max_atom: ', "'max_atoms'")),
        (EMT, {'calculator': {'kind': 'emt'}}, Code.VALUE_INVALID, ('labelling.calculator: ', 'emt')),
        (
            {'kind': 'calculator', 'calculator': {'kind': 'committee', 'members': [{'kind': 'emt'}, {'kind': 'lj'}]}},
            {},
            Code.VALUE_INVALID,
            ('labelling.calculator.kind: ', "'committee'"),
        ),
        (
            {'kind': 'calculator', 'calculator': {'kind': 'sevennet', 'model': '7net-1'}},
            {},
            Code.MODEL_NOT_LOADED,
            ('labelling.calculator.model: ', "'7net-1'"),
        ),
        (
            EMT,
            {'generation': [{**BASE['generation'][0], 'composition': {'W': 1.0}}]},
            Code.ELEMENT_UNSUPPORTED,
            ('generation[0]: ', 'W', 'emt'),
        ),
    ],
)
def test_an_invalid_labelling_is_refused_with_its_place(tmp_path, labelling, sections, code, values):
    with refused(code, *values):
        validate_config({**BASE, **sections, 'labelling': labelling}, tmp_path)


def test_one_of_several_exploring_calculators_may_label_the_frames_of_all_of_them(tmp_path):
    codes = [{'code': 'a@b', 'calculator': {'kind': kind}} for kind in ('emt', 'lj')]
    config = validate_config({**BASE, 'execution': {'codes': codes}, 'labelling': EMT}, tmp_path)
    assert config.labelling.calculator.kind == 'emt'


def test_the_settings_of_a_labelling_run_are_two_sections_of_a_config(write):
    path = write('labelling: {kind: calculator, calculator: {kind: emt}}\nexecution: {max_concurrent_jobs: 3}\n')
    config = load_labelling(path, ['labelling.structures_per_job=7'])
    assert (config.labelling.structures_per_job, config.execution.max_concurrent_jobs) == (7, 3)


@pytest.mark.parametrize(
    ('text', 'code', 'values'),
    [
        ('execution: {}\n', Code.VALUE_MISSING, ('labelling: ',)),
        ('labelling: {kind: calculator}\n', Code.VALUE_MISSING, ('labelling.calculator: ',)),
        ('labelling: {kind: calculator, calculator: {kind: emt}}\nname: a\n', Code.KEY_UNKNOWN, ('name: ',)),
        (
            'labelling: {kind: calculator, calculator: {kind: mace, model: gone.model}}\n',
            Code.MODEL_NOT_LOADED,
            ('labelling.calculator.model: ', 'gone.model'),
        ),
    ],
)
def test_invalid_settings_of_a_labelling_run_are_refused_with_their_places(write, text, code, values):
    with refused(code, *values):
        load_labelling(write(text))


def test_the_config_of_a_campaign_is_refused_with_the_sections_to_copy(write):
    path = write('name: a\ngeneration: []\ncalculator: {kind: emt}\nlabelling: {kind: gpaw}\n')
    with refused(Code.KEY_UNKNOWN, str(path), 'labelling', 'execution'):
        load_labelling(path)


@pytest.mark.parametrize(('cutoff_eV', 'n_warnings'), [(450, 1), (500, 0)])
def test_an_exploration_by_gpaw_whose_stresses_will_not_be_exported_gives_a_warning(tmp_path, cutoff_eV, n_warnings):
    gpaw = {'kind': 'gpaw', 'plane_wave_cutoff_eV': cutoff_eV}
    config = validate_config({**BASE, 'calculator': gpaw, 'sampling': {'kind': 'random'}}, tmp_path)
    warnings = campaign_warnings(config, check_seeds(config))
    found = [text for text in warnings if text.startswith('calculator.plane_wave_cutoff_eV: got 450; ')]
    assert len(found) == n_warnings
    assert all('Cu' in text and ' 500' in text for text in found)
