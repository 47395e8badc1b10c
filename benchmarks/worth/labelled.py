"""Pools of labelled frames, with held-out test sets and selections by samplers."""

import numpy as np
from ase.calculators.emt import EMT
from ase.io import read

from aiida_mlip_autopipe.sampling import section_class, select_frames
from aiida_mlip_autopipe.structures.disagreement import LARGEST
from aiida_mlip_autopipe.structures.trajectory import Trajectory

# Fraction of the groups of each kind, and then of the remaining frames, that is held out from all samplers.
HELD_OUT = 0.2


class Pool:
    """Labelled frames from which samplers choose, and other frames for testing.

    Parameters
    ----------
    path
        The file with the frames from which samplers choose.
    everywhere
        The file of an even pool for testing; None to test on held-out frames of the first file.
    """

    def __init__(self, path, everywhere=None):
        own = read(path, ':')
        even = read(everywhere, ':') if everywhere else []
        self.frames = own + even
        self.n_own = len(own)
        self.is_own = np.arange(len(self.frames)) < len(own)
        self.info = [atoms.info for atoms in self.frames]
        self.kinds = np.array([info['kind'] for info in self.info])
        # None for a pool without phases.
        self.phases = np.array([info.get('phase') for info in self.info])
        self.groups = np.array(
            [('' if own else 'even ') + info['group'] for own, info in zip(self.is_own, self.info, strict=True)]
        )
        self.forces = [atoms.get_forces() for atoms in self.frames]
        self.energies = [atoms.get_potential_energy() for atoms in self.frames]
        self.disagreements = [self._disagreement(i) for i in range(len(own))]

    def _disagreement(self, i):
        atoms = self.frames[i].copy()
        atoms.calc = EMT()
        return np.linalg.norm(atoms.get_forces() - self.forces[i], axis=1).max()

    def trajectories(self, indices):
        """Return the trajectories of some frames, one for each group, and the indices of their frames."""
        runs = {}
        for i in sorted(indices, key=lambda i: (self.info[i]['temperature_K'], self.info[i]['step'])):
            runs.setdefault(self.groups[i], []).append(i)
        trajectories = []
        for group, members in runs.items():
            frames = [self.frames[i] for i in members]
            trajectories.append(
                Trajectory(
                    seed_id=str(group),
                    numbers=frames[0].numbers,
                    pbc=frames[0].pbc,
                    steps=np.array([10_000 * self.info[i]['temperature_K'] + self.info[i]['step'] for i in members]),
                    positions=np.array([atoms.positions for atoms in frames]),
                    cells=np.array([atoms.cell.array for atoms in frames]),
                    energies=np.array([self.energies[i] for i in members]),
                    forces=np.array([self.forces[i] for i in members]),
                    stresses=np.zeros((len(frames), 6)),
                    temperatures=np.array([self.info[i]['temperature_K'] for i in members], dtype=float),
                    extra={LARGEST: np.array([self.disagreements[i] for i in members])},
                )
            )
        return trajectories, list(runs.values())

    def choose(self, candidates, fields, n, random_seed):
        """Return the indices of the frames that a sampler chooses from some candidates."""
        trajectories, members = self.trajectories(candidates)
        selection = select_frames(
            trajectories,
            section_class(fields['kind']).model_validate(fields | {'n_structures': n}),
            random_seed=random_seed,
            kinds=dict(zip(self.groups.tolist(), self.kinds.tolist(), strict=True)),
        )
        places = zip(selection.trajectory_indices, selection.frame_indices, strict=True)
        return [members[t][f] for t, f in places]

    def divide(self, repeat):
        """Yield the candidates and test sets of a repeat: with held-out groups and frames, then with a held-out kind.

        With an even pool, the test sets ``seeds`` and ``kind`` come from it: half of its groups, none of which are
        candidates, and all frames of the kind. The test sets ``own seeds`` and ``frames`` have the proportions of the
        first pool.

        In a pool of phases, no kind is held out, but the test set ``seeds`` is also divided by phase and by kind.
        """
        rng = np.random.default_rng([repeat, 20])
        everything = np.arange(len(self.frames))
        kinds = np.unique(self.kinds)
        own = self._draw_groups(self.is_own, HELD_OUT, rng)
        frames = self.is_own & ~own & (rng.random(len(everything)) < HELD_OUT)
        tests = {'seeds': own, 'frames': frames}
        if not self.is_own.all():
            tests = {'seeds': self._draw_groups(~self.is_own, 0.5, rng), 'frames': frames, 'own seeds': own}
        if self.phases[0] is not None:
            tests |= {f'{name} {value}': tests['seeds'] & of for name, value, of in self.parts()}
        yield everything[self.is_own & ~own & ~frames], {name: everything[of] for name, of in tests.items()}
        if self.phases[0] is not None:
            return
        kind = self.kinds == kinds[repeat % len(kinds)]
        frames = self.is_own & ~kind & (rng.random(len(everything)) < HELD_OUT)
        test = kind if self.is_own.all() else kind & ~self.is_own
        yield everything[self.is_own & ~kind & ~frames], {'kind': everything[test]}

    def parts(self):
        """Yield the property, the value and the members (m,), bool, of each phase and each kind."""
        for name, values in (('phase', self.phases), ('kind', self.kinds)):
            for value in sorted({value for value in values if value is not None}):
                yield name, value, values == value

    def _draw_groups(self, among, fraction, rng):
        """Draw a fraction of the groups of each kind, and return which frames belong to them."""
        names = [np.unique(self.groups[among & (self.kinds == kind)]) for kind in np.unique(self.kinds)]
        drawn = [rng.choice(some, round(fraction * len(some)), replace=False) for some in names]
        return np.isin(self.groups, np.concatenate(drawn))
