"""A tiny MACE model for copper and gold with random weights, which is not physical.

``python tiny_mace.py FILE`` writes it, in an environment with MACE.
"""

import sys
from importlib import import_module
from pathlib import Path

import numpy as np


def write_tiny_mace(path: Path) -> Path:
    """Write the model to a file and return its path."""
    import torch

    modules = import_module(
        'mace.modules'
    )  # imported before e3nn, so that e3nn can load its constants with a recent torch
    from e3nn import o3

    torch.manual_seed(3)
    previous = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    network = modules.ScaleShiftMACE(
        r_max=4.0,
        num_bessel=4,
        num_polynomial_cutoff=5,
        max_ell=1,
        interaction_cls=modules.interaction_classes['RealAgnosticResidualInteractionBlock'],
        interaction_cls_first=modules.interaction_classes['RealAgnosticResidualInteractionBlock'],
        num_interactions=2,
        num_elements=2,
        hidden_irreps=o3.Irreps('8x0e'),
        MLP_irreps=o3.Irreps('4x0e'),
        gate=torch.nn.functional.silu,
        atomic_energies=np.array([[-3.0, -3.5]]),
        avg_num_neighbors=12.0,
        atomic_numbers=[29, 79],
        correlation=2,
        radial_MLP=[8],
        atomic_inter_scale=[0.1],
        atomic_inter_shift=[0.0],
    )
    torch.set_default_dtype(previous)
    torch.save(network, path)
    return path


if __name__ == '__main__':
    write_tiny_mace(Path(sys.argv[1]))
