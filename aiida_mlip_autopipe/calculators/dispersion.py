"""Grimme's D3 dispersion, added to the results of a calculator that lacks it.

The package ``dftd3`` is the reference implementation, a wheel of 2 MB. ``torch-dftd``, which MACE uses, would bring
torch into the environment of a DFT code. Both give the same energies within 0.001 times the dispersion energy; the
difference comes from their cutoffs.

S. Grimme, S. Ehrlich and L. Goerigk, J. Comput. Chem. 32, 1456 (2011), https://doi.org/10.1002/jcc.21759
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from ase import Atoms

from aiida_mlip_autopipe.calculators.base import CalculatorRefusedError
from aiida_mlip_autopipe.core.codes import Code

PACKAGE = 'dftd3'


def check_dispersion() -> None:
    """Refuse a dispersion correction whose package is not installed.

    Raises
    ------
    CalculatorRefusedError
        If it is not installed.
    """
    if find_spec(PACKAGE) is None:
        raise CalculatorRefusedError(
            Code.CALCULATOR_MISSING,
            f'dispersion: true needs the package {PACKAGE!r}, which is not installed in the environment of this job; '
            'install aiida-mlip-autopipe[gpaw]',
        )


class DispersionCorrection:
    """D3 dispersion with Becke-Johnson damping and without three-body terms.

    Parameters
    ----------
    functional
        The functional for which the parameters were fitted, such as ``PBE``.
    """

    def __init__(self, functional: str):
        from dftd3.ase import DFTD3

        self._calculator = DFTD3(method=functional.lower(), damping='d3bj')

    def add_to(self, results: dict[str, Any], atoms: Atoms) -> None:
        """Add the dispersion to the energies (eV), forces (eV/Å) and stress (eV/Å³) among the results of a calculator.

        Parameters
        ----------
        results
            The results, which are replaced.
        atoms
            The structure.
        """
        properties: list[str] = [name for name in ('energy', 'forces', 'stress') if name in results]
        structure = atoms.copy()
        self._calculator.calculate(structure, properties)
        for name in properties:
            results[name] = results[name] + self._calculator.results[name]
        for name in {'free_energy', 'extrapolated_energy'} & results.keys():
            results[name] = results[name] + self._calculator.results['energy']
