"""The three systems: seeds, a cheap teacher that computes the labels, and the explorations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ase.calculators.tersoff import Tersoff, TersoffParameters

from aiida_mlip_autopipe.generation import GENERATORS, generate_seeds
from aiida_mlip_autopipe.structures.seed import Seed

PERTURBED = {'rattle_A': 0.05, 'isotropic_strain': 0.05}
# Si in the parametrisation of J. Tersoff, Phys. Rev. B 39, 5566 (1989).
SILICON = TersoffParameters(
    m=3.0, gamma=1.0, lambda3=0.0, c=100390.0, d=16.217, h=-0.59825, n=0.78734, beta=1.1e-6, lambda2=1.73222, B=471.18,
    R=2.85, D=0.15, lambda1=2.4799, A=1830.8,
)  # fmt: skip


class TersoffSilicon(Tersoff):
    """ASE's Tersoff potential of silicon."""

    def __init__(self) -> None:
        super().__init__({('Si', 'Si', 'Si'): SILICON})

    def _calc_bij_d(self, zeta: float, beta: float, n: float) -> float:
        # ASE divides by zero for a bond without other neighbours, for which the gradient of zeta is zero.
        return super()._calc_bij_d(max(zeta, 1e-12), beta, n)


@dataclass(frozen=True, eq=False)
class System:
    """A system.

    Attributes
    ----------
    entries
        The ``generation`` section. Each seed has its own parent, and thus its own group.
    teacher
        The ``calculator`` section of the teacher.
    temperatures_K, timestep_fs
        Of the explorations.
    target_eV_A
        The force error to reach.
    """

    entries: list[dict[str, Any]]
    teacher: dict[str, Any]
    temperatures_K: tuple[float, ...]
    timestep_fs: float
    target_eV_A: float

    @property
    def exploration(self) -> dict[str, Any]:
        """The ``exploration`` section: six frames from each seed."""
        return {
            'ensemble': 'nvt',
            'temperature_K': self.temperatures_K,
            'timestep_fs': self.timestep_fs,
            'n_steps': 36,
            'frame_interval': 6,
            'relaxation': {'max_steps': 20},
        }

    def seeds(self, random_seed: int) -> Sequence[Seed]:
        """Return the seeds for a random seed."""
        entries = [
            GENERATORS.load(entry['kind']).settings_class.model_validate({**entry, 'validation': {'cell': 'as_given'}})
            for entry in self.entries
        ]
        return generate_seeds(entries, random_seed=random_seed, cutoff_A=0.0).seeds


def _alloy(fraction: float, n_seeds: int) -> dict[str, Any]:
    composition = {'Cu': fraction, 'Au': 1 - fraction}
    return {
        'kind': 'alloy', 'lattice': 'fcc', 'composition': composition, 'composition_tolerance': 0.1,
        'supercell': (1, 1, 3), 'n_seeds': n_seeds, 'perturb': PERTURBED,
    }  # fmt: skip


def _element(symbol: str, volume_A3: float) -> list[dict[str, Any]]:
    """Return entries for random crystals and random packings of an element."""
    return [
        {
            'kind': 'formula', 'formula': symbol, 'max_prototypes': 0, 'n_random': 30, 'n_seeds': 30,
            'formula_units': (4, 6, 8), 'volume_A3': volume_A3,
        },
        _amorphous({symbol: 1}, volume_A3),
    ]  # fmt: skip


def _amorphous(composition: dict[str, float], volume_A3: float) -> dict[str, Any]:
    return {
        'kind': 'amorphous', 'composition': composition, 'volume_per_atom_A3': volume_A3, 'n_atoms': 8, 'n_seeds': 14,
        'distance_factor': 0.87,
    }  # fmt: skip


SYSTEMS = {
    'CuAu': System(
        [_alloy(0.5, 14), _alloy(0.75, 8), _alloy(0.25, 8), _amorphous({'Cu': 1, 'Au': 1}, 15.0)],
        {'kind': 'emt'},
        (300.0, 900.0, 1800.0),
        5.0,
        0.05,
    ),
    'Si': System(
        _element('Si', 20.0),
        {'kind': 'custom', 'calculator': 'systems:TersoffSilicon', 'cutoff_A': 3.0},
        (300.0, 900.0, 1800.0),
        2.0,
        0.2,
    ),
    # A cutoff that the models can describe.
    'Ar': System(_element('Ar', 38.0), {'kind': 'lj', 'cutoff_A': 5.0}, (20.0, 60.0, 120.0), 5.0, 0.01),
}
