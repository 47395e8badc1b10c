"""The settings of the labellers of this package, and the levels of theory of their labels."""

import pytest
from pydantic import TypeAdapter, ValidationError
from support.environments import environment_of

from aiida_mlip_autopipe.labelling import LABELLERS

SECTIONS = TypeAdapter(LABELLERS.settings_union())
CUSTOM = {'kind': 'custom', 'calculator': 'ase.calculators.emt:EMT', 'level_name': 'dft:vasp:pbe'}


def labeller(**section):
    return LABELLERS.make(SECTIONS.validate_python(section))


def test_gpaw_has_the_settings_of_its_calculator_except_the_cutoff_of_seeds():
    made = labeller(kind='gpaw', preset='fast', energy='extrapolated', structures_per_job=3)
    calculator = made.calculator_settings()
    assert (calculator.plane_wave_cutoff_eV, calculator.energy, made.energy) == (400.0, 'extrapolated', 'extrapolated')
    with pytest.raises(ValidationError, match='cutoff_A'):
        labeller(kind='gpaw', cutoff_A=5.0)


def test_the_level_depends_on_the_settings_of_the_calculator_and_on_nothing_else():
    environment = environment_of()
    sections = [{}, {'structures_per_job': 3, 'time_limit_s': 5, 'max_scf_steps': 9}, {'energy': 'extrapolated'}]
    first, same, other = (labeller(kind='gpaw', **section).level(environment) for section in sections)
    assert (first.method, first.name) == ('dft', 'dft:gpaw:pbe')
    assert first.hash == same.hash != other.hash


def test_a_calculator_of_this_program_labels_with_its_own_level():
    made = labeller(kind='calculator', calculator={'kind': 'emt'})
    assert made.calculator_settings().kind == 'emt'
    assert (made.energy, made.level(environment_of()).method) == ('total', 'mlip')
    assert labeller(kind='calculator', calculator={'kind': 'gpaw'}).energy == 'free_energy'


def test_a_custom_labeller_has_the_method_and_the_name_that_the_user_gives():
    level = labeller(**CUSTOM).level(environment_of())
    assert (level.method, level.name, level.parameters['energy']) == ('dft', 'dft:vasp:pbe', 'free_energy')
    assert labeller(**CUSTOM | {'energy': 'total'}).level(environment_of()).hash != level.hash
    with pytest.raises(ValidationError, match='level_name'):
        labeller(**CUSTOM | {'level_name': 'vasp'})
