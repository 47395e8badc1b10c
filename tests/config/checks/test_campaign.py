import pytest
from ase.build import bulk
from ase.calculators.emt import parameters
from ase.io import write as write_atoms
from support.errors import refused

from aiida_mlip_autopipe.config import summary as summary_module
from aiida_mlip_autopipe.config import validate_config
from aiida_mlip_autopipe.config.checks.seeds import check_seeds
from aiida_mlip_autopipe.config.summary import summarise_config
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import ConfigError
from aiida_mlip_autopipe.exploration import CALCULATORS

ALLOY = {'kind': 'alloy', 'composition': {'Cu': 0.5, 'Au': 0.5}}
IRON = {'kind': 'alloy', 'composition': {'Fe': 0.5, 'Cu': 0.3, 'W': 0.2}, 'lattice': 'fcc'}


def faults(tmp_path, **sections):
    with pytest.raises(ConfigError) as error:
        validate_config({'name': 'x', 'generation': [ALLOY], **sections}, tmp_path)
    return [(fault.code, fault.path, fault.given) for fault in error.value.faults]


def test_an_element_that_the_calculator_does_not_support_is_a_fault_of_the_entry(tmp_path):
    data = {'name': 'x', 'generation': [ALLOY, IRON], 'calculator': {'kind': 'emt'}}
    known = 'Ag, Al, Au, C, Cu, H, N, Ni, O, Pd, Pt'
    with refused(Code.ELEMENT_UNSUPPORTED, 'generation[1]: ', 'Fe, W', 'emt', known):
        validate_config(data, tmp_path)
    assert validate_config({'name': 'x', 'generation': [IRON]}, tmp_path).calculator.kind == 'sevennet'


def test_a_magnetic_moment_of_an_element_that_no_seed_contains_is_a_fault(tmp_path):
    iron = {**IRON, 'magnetic_moments': {'Fe': 2.2, 'Co': 1.6}}
    defect = {'kind': 'defect', 'of': ALLOY, 'interstitials': {'C': 1}, 'magnetic_moments': {'C': 0.1, 'Ni': 0.6}}
    assert faults(tmp_path, generation=[iron, defect]) == [
        (Code.KEY_UNKNOWN, 'generation[0].magnetic_moments.Co', '1.6'),
        (Code.KEY_UNKNOWN, 'generation[1].magnetic_moments.Ni', '0.6'),
    ]


SLAB = {'kind': 'surface', 'of': ALLOY}


@pytest.mark.parametrize(
    ('held', 'code', 'values'),
    [
        (
            ['surfaces'],
            Code.CHOICE_UNKNOWN,
            ('sampling.held_out_kinds[0]: ', "'surfaces'", 'alloy, surface', "'surface'"),
        ),
        (['surface', 'alloy'], Code.VALUE_INVALID, ('sampling.held_out_kinds: ', 'surface, alloy')),
    ],
)
def test_held_out_kinds_must_be_kinds_of_entries_but_not_all_of_them(tmp_path, held, code, values):
    sampling = {'kind': 'random', 'test_fraction': 0.1, 'held_out_kinds': held}
    with refused(code, *values) as caught:
        validate_config({'name': 'x', 'generation': [ALLOY, SLAB], 'sampling': sampling}, tmp_path)
    assert len(caught.value.faults) == 1
    sampling['held_out_kinds'] = ['surface']
    config = validate_config({'name': 'x', 'generation': [ALLOY, SLAB], 'sampling': sampling}, tmp_path)
    assert config.sampling.held_out_kinds == ('surface',)


def test_kinds_that_are_always_selected_must_be_kinds_of_entries(tmp_path):
    sampling = {'kind': 'random', 'always_selected_kinds': ['dimer', 'surfaces']}
    with refused(Code.CHOICE_UNKNOWN, 'sampling.always_selected_kinds[1]: ', "'surfaces'", "'surface'") as caught:
        validate_config({'name': 'x', 'generation': [ALLOY, SLAB], 'sampling': sampling}, tmp_path)
    assert len(caught.value.faults) == 1
    sampling['always_selected_kinds'] = ['surface']
    assert validate_config({'name': 'x', 'generation': [ALLOY, SLAB], 'sampling': sampling}, tmp_path)


@pytest.mark.parametrize(
    ('held', 'code', 'values'),
    [
        ({'held_out_labels': ['warm']}, Code.CHOICE_UNKNOWN, ('sampling.held_out_labels[0]: ', "'warm'", 'cold, hot')),
        ({'held_out_labels': ['hot', 'cold']}, Code.VALUE_INVALID, ('sampling.held_out_labels: ', 'hot, cold')),
        (
            {'held_out_kinds': ['surface'], 'held_out_labels': ['hot']},
            Code.VALUE_INVALID,
            ('sampling.held_out_labels: ', 'hot'),
        ),
        (
            {'held_out_labels': ['hot'], 'always_selected_kinds': ['alloy']},
            Code.VALUES_EXCLUDE,
            ('generation[0].label: ', "'hot'", 'alloy'),
        ),
    ],
)
def test_held_out_labels_must_be_labels_of_entries_but_not_all_of_them(tmp_path, held, code, values):
    entries = [{**ALLOY, 'label': 'hot'}, {**SLAB, 'label': 'cold'}]
    sampling = {'kind': 'random', 'test_fraction': 0.1, **held}
    with refused(code, *values) as caught:
        validate_config({'name': 'x', 'generation': entries, 'sampling': sampling}, tmp_path)
    assert len(caught.value.faults) == 1
    sampling = {'kind': 'random', 'test_fraction': 0.1, 'held_out_labels': ['hot']}
    assert validate_config({'name': 'x', 'generation': entries, 'sampling': sampling}, tmp_path)
    del sampling['test_fraction']
    with refused(Code.VALUE_MISSING, 'sampling: ', 'held_out_labels', 'test_fraction'):
        validate_config({'name': 'x', 'generation': entries, 'sampling': sampling}, tmp_path)


def test_held_out_kinds_require_a_test_fraction(tmp_path):
    sampling = {'kind': 'fps', 'held_out_kinds': ['surface']}
    with refused(Code.VALUE_MISSING, 'sampling: ', 'held_out_kinds', 'test_fraction'):
        validate_config({'name': 'x', 'generation': [ALLOY, SLAB], 'sampling': sampling}, tmp_path)


def test_the_elements_of_structure_files_are_checked(tmp_path):
    write_atoms(tmp_path / 'fe.xyz', bulk('Fe'))
    entry = {'kind': 'structures', 'files': ['fe.xyz']}
    found = faults(tmp_path, generation=[entry], calculator={'kind': 'emt'})
    assert found == [(Code.ELEMENT_UNSUPPORTED, 'generation[0]', 'Fe')]


def test_the_elements_of_nested_entries_are_checked(tmp_path):
    host = {**ALLOY, 'composition': {'Cu': 1.0}}
    slab = {'kind': 'surface', 'of': host}
    entries = [
        slab,
        {'kind': 'adsorption', 'of': slab, 'molecules': ['CO', 'SiH4']},
        {'kind': 'defect', 'of': slab, 'substitutions': {'Cu': {'Zn': 1}}, 'interstitials': {'B': 1}},
        {'kind': 'surface', 'of': {'kind': 'covalent', 'structure': 'diamond', 'sites': {'A': 'Ge'}}},
    ]
    assert faults(tmp_path, generation=entries, calculator={'kind': 'emt'}) == [
        (Code.ELEMENT_UNSUPPORTED, 'generation[1]', 'Si'),
        (Code.ELEMENT_UNSUPPORTED, 'generation[2]', 'B, Zn'),
        (Code.ELEMENT_UNSUPPORTED, 'generation[3]', 'Ge'),
    ]


def test_emt_supports_the_elements_of_its_parameters_in_ase():
    assert CALCULATORS.load('emt').known_elements == set(parameters)


@pytest.mark.parametrize(
    ('calculator', 'code', 'values'),
    [
        ({'model': '7net-O'}, Code.MODEL_NOT_LOADED, ("'7net-O'", "'7net-0'")),
        ({'model': './my.pth'}, Code.FILE_MISSING, ("'./my.pth'",)),
        ({'kind': 'mace', 'model': 'my.model'}, Code.MODEL_NOT_LOADED, ("'my.model'",)),
        ({'kind': 'mace', 'model': 'no/my.model'}, Code.FILE_MISSING, ("'no/my.model'",)),
    ],
)
def test_a_missing_model_is_a_fault(tmp_path, calculator, code, values):
    with refused(code, 'calculator.model: ', *values) as caught:
        validate_config({'name': 'x', 'generation': [ALLOY], 'calculator': calculator}, tmp_path)
    assert len(caught.value.faults) == 1


def test_a_structure_file_that_cannot_be_read_is_a_fault(tmp_path):
    (tmp_path / 'bad.cif').write_text('not a crystal\n')
    (tmp_path / 'bad.what').write_text('not a crystal\n')
    entries = [{'kind': 'structures', 'files': [name]} for name in ('bad.cif', 'bad.what')]
    for number, name in enumerate(('bad.cif', 'bad.what')):
        with refused(Code.FILE_UNREADABLE, f'generation[{number}]: ', 'structures', str(tmp_path / name)) as caught:
            validate_config({'name': 'x', 'generation': entries}, tmp_path)
        assert len(caught.value.faults) == 2


def test_conflicts_between_sections_are_reported_with_the_faults_of_other_sections(tmp_path):
    found = faults(tmp_path, generation=[IRON], calculator={'kind': 'emt'}, exploration={'n_steps': 0}, extra=1)
    assert [path for _, path, _ in found] == ['exploration.n_steps', 'extra', 'generation[0]']


def test_an_invalid_section_is_not_checked_for_conflicts(tmp_path):
    found = faults(tmp_path, generation=[IRON], calculator={'kind': 'emt', 'device': 'gpu'})
    assert [path for _, path, _ in found] == ['calculator.device']


def test_the_summary_of_a_slab_contains_its_thickness(tmp_path):
    gold = {'kind': 'alloy', 'composition': {'Au': 1.0}, 'a_A': 4.08}
    slab = {'kind': 'surface', 'of': gold, 'miller_indices': [[1, 0, 0]], 'n_layers': 4}
    config = validate_config({'name': 'x', 'generation': [slab, gold], 'calculator': {'kind': 'emt'}}, tmp_path)
    entries = summarise_config(config).entries
    assert entries[0].thickness_A == pytest.approx(3 * 2.04)
    assert entries[1].thickness_A is None


def test_the_summary_contains_the_time_step_of_each_entry(tmp_path):
    gold = {'kind': 'alloy', 'composition': {'Au': 1.0}}
    carbon = {'kind': 'covalent', 'structure': 'diamond', 'sites': {'A': 'C'}}
    exploration = {'timestep_fs': 0.5}
    entries = [gold, carbon, {**carbon, 'exploration': exploration, 'validation': {'unique': False}},
               {'kind': 'atom', 'symbols': ['Cu']}]  # fmt: skip
    found = summarise_config(validate_config({'name': 'x', 'generation': entries}, tmp_path)).entries
    assert [entry.timestep_fs for entry in found] == [2.0, pytest.approx(0.35 * 12.011**0.5), 0.5, None]


def test_the_check_names_entries_that_take_too_long_and_checks_the_others(tmp_path):
    sqs = {**ALLOY, 'arrangement': 'sqs', 'n_atoms': 108, 'sqs': {'n_steps': 1_000_000}}
    config = validate_config({'name': 'x', 'generation': [sqs, ALLOY]}, tmp_path)
    summary = summarise_config(config)
    assert [entry.example is None for entry in summary.entries] == [True, False]
    assert not summary.is_complete
    assert [warning.partition(':')[0] for warning in summary.warnings] == ['generation[0]']
    impossible = {**ALLOY, 'supercell': [1, 1, 1], 'composition': {'Cu': 0.9, 'Au': 0.1}}
    with refused(Code.COMPOSITION_IMPOSSIBLE, 'generation[1]'):
        summarise_config(validate_config({'name': 'x', 'generation': [sqs, impossible]}, tmp_path))


def test_the_search_for_distinct_sites_counts_towards_the_time_of_the_check(tmp_path, monkeypatch):
    carbon = {'kind': 'defect', 'of': {'kind': 'alloy', 'composition': {'Cu': 1.0}, 'supercell': [2, 2, 2]},
              'interstitials': {'C': 1}, 'sites': 'distinct'}  # fmt: skip
    config = validate_config({'name': 'x', 'generation': [carbon, {**ALLOY, 'n_seeds': 3}]}, tmp_path)
    assert check_seeds(config).n_seeds == (2, 3)
    found = check_seeds(config, time_s=1e-6)
    assert (found.n_seeds, found.unchecked) == ((None, 3), (0, 1))
    monkeypatch.setattr(summary_module, 'CHECK_TIME_S', 1e-6)
    summary = summarise_config(config)
    assert ([entry.n_seeds for entry in summary.entries], summary.n_frames) == ([None, 3], None)
    assert not summary.has_too_few_frames


def test_a_substrate_that_takes_too_long_counts_towards_the_time_of_the_check(tmp_path):
    sqs = {key: value for key, value in ALLOY.items() if key != 'n_seeds'} | {'arrangement': 'sqs'}
    liquid = {'molecules': [{'name': 'H2O'}], 'density_g_per_cm3': 1.0, 'thickness_A': 8}
    entry = {'kind': 'interface', 'substrate': sqs, 'substrate_miller': [1, 1, 1], 'liquid': liquid}
    config = validate_config({'name': 'x', 'generation': [entry]}, tmp_path)
    assert check_seeds(config, time_s=1e-6).unchecked == (0,)


def test_the_check_of_an_entry_before_a_campaign_starts_ends_only_at_the_limit_of_the_entry(tmp_path):
    entry = {**ALLOY, 'arrangement': 'sqs', 'n_seeds': 1, 'sqs': {'n_steps': 20}}
    config = validate_config({'name': 'x', 'generation': [entry]}, tmp_path)
    assert check_seeds(config).unchecked == ()
    assert check_seeds(config, time_s=1e-6).unchecked == (0,)
    limited = {'name': 'x', 'generation': [{**entry, 'validation': {'time_limit_s': 1e-6}}]}
    for time_s in (None, 600.0):
        with refused(Code.TIME_LIMIT, 'generation[0]', 'validation.time_limit_s'):
            check_seeds(validate_config(limited, tmp_path), time_s=time_s)


def test_frames_that_are_always_selected_do_not_count_as_candidates(tmp_path):
    entries = [{'kind': 'alloy', 'composition': {'Cu': 1.0}, 'n_seeds': 1}, {'kind': 'dimer', 'n_points': 5}]
    dynamics = {'n_steps': 20, 'frame_interval': 5}
    data = {'name': 'x', 'generation': entries, 'exploration': dynamics, 'sampling': {'n_structures': 6}}
    summary = summarise_config(validate_config(data, tmp_path))
    assert (summary.n_frames, summary.n_always_selected, summary.has_too_few_frames) == (4, 5, True)


def test_the_check_warns_of_labels_without_stress_and_of_other_U_values(tmp_path):
    write_atoms(tmp_path / 'oxide.xyz', bulk('NiO', 'rocksalt', 4.2))
    entries = [{'kind': 'structures', 'files': ['oxide.xyz']}]
    data = {'name': 'x', 'generation': entries, 'sampling': {'n_structures': 1}}
    fields = ('hubbard_U_eV', 'plane_wave_cutoff_eV')

    def places(**sections):
        if 'labelling' in sections:
            sections['labelling'] |= {'kind': 'gpaw', 'spin_polarized': True, 'initial_magnetic_moments': {'Ni': 2.0}}
        calculator = {'kind': 'sevennet', 'model': '7net-0'}
        found = summarise_config(validate_config({**data, 'calculator': calculator, **sections}, tmp_path)).warnings
        return [next((field for field in fields if field in warning), warning) for warning in found]

    assert places() == []
    assert places(labelling={'preset': 'fast'}) == ['hubbard_U_eV', 'plane_wave_cutoff_eV']
    assert places(labelling={'hubbard_U_eV': {'Ni': {'d': 6.2}}}) == []
