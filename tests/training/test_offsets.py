import numpy as np
import pytest
from ase import Atoms

from aiida_mlip_autopipe.training.offsets import fit_offsets


def test_two_compositions_determine_the_offsets_of_two_elements():
    structures = [Atoms('Cu3Au'), Atoms('CuAu'), Atoms('Cu2')]
    offsets = fit_offsets(structures, [3 * 1.5 - 0.3, 1.5 - 0.3, 2 * 1.5])
    assert offsets.energies_eV == pytest.approx({'Au': -0.3, 'Cu': 1.5})
    assert offsets.residual_eV_atom == pytest.approx(0, abs=1e-12)
    assert offsets.determined
    assert offsets.of(Atoms('CuAu2')) == pytest.approx(1.5 - 0.6)


def test_one_stoichiometry_gives_the_solution_with_the_smallest_norm():
    # Only x_Na + 2 x_Cl = 5 eV is known for NaCl2; the smallest solution is parallel to (1, 2).
    offsets = fit_offsets([Atoms('NaCl2'), Atoms('Na2Cl4')], [5.0, 10.0])
    assert offsets.energies_eV == pytest.approx({'Na': 1.0, 'Cl': 2.0})
    assert not offsets.determined
    assert offsets.residual_eV_atom == pytest.approx(0, abs=1e-12)


def test_the_offset_of_one_element_is_the_mean_difference_per_atom_and_the_residual_its_deviation():
    offsets = fit_offsets([Atoms('Si2'), Atoms('Si')], [2 * 0.4, 0.2])
    assert offsets.energies_eV == pytest.approx({'Si': 0.3})
    assert offsets.residual_eV_atom == pytest.approx(0.1)


def test_elements_without_offset_contribute_nothing():
    assert fit_offsets([Atoms('Si')], [1.0]).of(Atoms('Ge2')) == 0


def test_noise_is_averaged_over_the_structures():
    noise = np.random.default_rng(1).normal(0, 0.01, 400)
    offsets = fit_offsets([Atoms('Si2')] * 400, list(2 * (0.3 + noise)))
    assert offsets.energies_eV['Si'] == pytest.approx(0.3, abs=0.002)
    assert offsets.residual_eV_atom == pytest.approx(0.01, rel=0.1)
