"""Molecules from SMILES strings, by RDKit."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.generation.files.reading import DROPPED

# The conformer depends on the SMILES string alone, not on the seed.
RANDOM_SEED = 7
MAX_STEPS = 5000
DECIMALS = 4  # of positions in Å, so that the last bits of the optimisation do not matter


def molecule_from_smiles(smiles: str) -> Atoms:
    """Return a molecule with hydrogen atoms, with the formal charges of its atoms as initial charges.

    The conformer is that of ETKDGv3 (S. Wang et al., J. Chem. Inf. Model. 60, 2044 (2020)), optimised with the force
    field MMFF94.

    Raises
    ------
    AutopipeError
        If RDKit is missing, the SMILES string is invalid or has several parts, or the molecule has an atom for
        which the force field has no parameters.
    """
    try:
        from rdkit import Chem, rdBase
        from rdkit.Chem import rdDistGeom, rdForceFieldHelpers
    except ImportError as error:
        raise AutopipeError(
            Code.PACKAGE_MISSING,
            f"the SMILES string {smiles!r} needs RDKit: pip install 'aiida-mlip-autopipe[molecules]'",
        ) from error
    with rdBase.BlockLogs():
        parsed = Chem.MolFromSmiles(smiles)
        if parsed is None or not parsed.GetNumAtoms():
            raise AutopipeError(Code.MOLECULE_UNKNOWN, f'{smiles!r} is not a valid SMILES string')
        molecule = Chem.AddHs(parsed)
        parts = Chem.GetMolFrags(molecule)
        if len(parts) > 1:
            raise AutopipeError(
                Code.MOLECULE_UNKNOWN, f'{smiles!r} has {len(parts)} parts; write each one as a separate molecule'
            )
        symbols = [atom.GetSymbol() for atom in molecule.GetAtoms()]
        charges = [float(atom.GetFormalCharge()) for atom in molecule.GetAtoms()]
        dropped = {DROPPED: ['masses']} if any(atom.GetIsotope() for atom in molecule.GetAtoms()) else {}
        if len(symbols) == 1:
            return Atoms(symbols, charges=charges, info=dropped)
        settings = rdDistGeom.ETKDGv3()
        settings.randomSeed = RANDOM_SEED  # type: ignore[assignment]
        # Each function returns 0 on success.
        if (
            not rdForceFieldHelpers.MMFFHasAllMoleculeParams(molecule)
            or rdDistGeom.EmbedMolecule(molecule, settings)
            or rdForceFieldHelpers.MMFFOptimizeMolecule(molecule, maxIters=MAX_STEPS)
        ):
            raise AutopipeError(
                Code.MOLECULE_UNKNOWN,
                f'RDKit finds no geometry for {smiles!r} with MMFF94; provide the molecule as a file',
            )
        positions = np.round(molecule.GetConformer().GetPositions(), DECIMALS)
    return Atoms(symbols, positions, charges=charges, info=dropped)
