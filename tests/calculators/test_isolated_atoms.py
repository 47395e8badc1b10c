import numpy as np
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT

from aiida_mlip_autopipe.calculators.isolated_atoms import evaluate_isolated_atoms


class FailsForIsolatedAtoms(Calculator):
    """Fails for an atom of copper, and returns NaN as the energy of gold."""

    implemented_properties = ('energy', 'forces')

    def calculate(self, atoms, properties, changes):
        if atoms.symbols[0] == 'Cu':
            raise ValueError('an atom needs a neighbour')
        self.results = {'energy': np.nan, 'forces': np.zeros((1, 3))}


def test_each_element_is_evaluated_once_as_an_isolated_atom():
    # Energies of EMT relative to the crystal: the cohesive energies.
    assert evaluate_isolated_atoms(['Cu', 'Au', 'Cu'], EMT()) == ({'Au': 3.80, 'Cu': 3.51}, [])


def test_an_element_that_cannot_be_evaluated_is_reported_and_omitted():
    energies, faults = evaluate_isolated_atoms(['Cu', 'Au'], FailsForIsolatedAtoms())
    assert energies == {}
    of_gold, of_copper = faults
    assert ' Au ' in of_gold
    assert ' Cu ' in of_copper
    assert of_copper.endswith('ValueError: an atom needs a neighbour')
