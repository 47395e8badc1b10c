"""Random packing of rigid molecules and of single atoms in a rectangular periodic cell, or in a layer between walls.

Bodies are added one after another at random positions and in random orientations (random sequential addition). Then
overlaps are removed: atoms of different bodies that are closer than their contact distance d repel each other with the
energy ``(d - r)² / 2``, and the bodies follow the forces and torques by FIRE (E. Bitzek et al., Phys. Rev. Lett. 97,
170201 (2006)). Bodies never change their shape.

The arithmetic consists of single additions, products, quotients and square roots, which all processors round in the
same way, and the coordinates are rounded after each step. A packing is therefore the same on every processor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aiida_mlip_autopipe.generation.limits import check_time

N_TRIALS = 10
N_STEPS = 1000
# Repulsion begins at this multiple of the contact distance, so that it does not vanish before the contacts are reached.
INFLATION = 1.03
JAMMED = 1e-4  # Overlapping bodies on which no larger force acts do not move apart.
SAFETY = 0.9
DECIMALS = 9
# Parameters of FIRE, in units in which the spring constant and the mass of an atom are 1.
TIMESTEP, MAX_TIMESTEP = 0.1, 0.5
GROWTH, SHRINKAGE, DELAY = 1.1, 0.5, 5
MIXING, MIXING_DECAY = 0.1, 0.99


@dataclass(frozen=True, eq=False)
class Bodies:
    """The bodies to pack.

    Attributes
    ----------
    shapes
        Positions of the atoms of each body in Å, (n, 3) for a body of n atoms.
    species
        Index of each atom in `contacts`, one array (n,) for each body.
    contacts
        Minimum distance between atoms of two bodies in Å, for each pair of species, symmetric.
    """

    shapes: Sequence[np.ndarray]
    species: Sequence[np.ndarray]
    contacts: np.ndarray


@dataclass(frozen=True, eq=False)
class Packing:
    """The result of a packing.

    Attributes
    ----------
    positions
        Positions of all atoms in Å, body after body. The centre of each body is in the cell, and no body is divided by
        the boundary of the cell.
    scale
        1 if all contact distances are reached. Otherwise an estimate of the factor by which all of them would have to
        be smaller: the mean ratio of the distances to the contact distances of overlapping atoms, weighted by their
        overlaps. For equal spheres, it gives the density of random close packing, 0.64, within 4 %.
    """

    positions: np.ndarray
    scale: float

    @property
    def density_factor(self) -> float:
        """Ratio of a density that can certainly be reached to that of the packing."""
        return SAFETY * self.scale**3


def pack(bodies: Bodies, lengths_A: np.ndarray, rng: np.random.Generator) -> Packing:
    """Pack bodies at random positions and in random orientations.

    Parameters
    ----------
    bodies
        The bodies.
    lengths_A
        Edges of the rectangular cell in Å, (3,).
    rng
        Source of all random numbers.

    Returns
    -------
    Packing
        If not all contact distances can be reached, ``scale`` is below 1.
    """
    return _pack(bodies, _Box(np.asarray(lengths_A, dtype=float)), rng)


def pack_layer(bodies: Bodies, plane_A: np.ndarray, height_A: float, rng: np.random.Generator) -> Packing:
    """Pack bodies as `pack` does, but in a layer that is periodic only in its plane. All atoms are between its walls.

    Parameters
    ----------
    bodies
        The bodies.
    plane_A
        Vectors of the cell in the plane in Å, as rows (2, 2).
    height_A
        Distance between the walls in Å, which are at z = 0 and at this height.
    rng
        Source of all random numbers.
    """
    return _pack(bodies, _Layer(np.asarray(plane_A, dtype=float), height_A), rng)


def _pack(bodies: Bodies, space: _Box | _Layer, rng: np.random.Generator) -> Packing:
    relaxation = _Relaxation(bodies, space)
    relaxation.add_at_random(rng)
    scale = relaxation.remove_overlaps()
    return Packing(relaxation.positions(), scale)


def cubic_edge(volume_A3: float) -> float:
    """Return the edge in Å of a cube of the given volume in Å³, rounded so that all processors agree."""
    return round(float(np.cbrt(volume_A3)), 10)


class _Box:
    """A rectangular cell that is periodic in three directions."""

    pbc, height = (True, True, True), None

    def __init__(self, lengths: np.ndarray):
        self.lengths, self.cell = lengths, np.diag(lengths)

    def points(self, fractions: np.ndarray) -> np.ndarray:
        """Return the points with the given fractional coordinates."""
        return np.asarray(fractions * self.lengths)

    def nearest(self, vectors: np.ndarray) -> np.ndarray:
        """Return vectors to the nearest images."""
        return np.asarray(vectors - self.lengths * np.round(vectors / self.lengths))

    def wrapped(self, points: np.ndarray) -> np.ndarray:
        """Return the images of points in the cell."""
        return np.asarray(points - self.lengths * np.floor(points / self.lengths))

    def shifted(self, counts: np.ndarray) -> np.ndarray:
        """Return sums of cell vectors."""
        return np.asarray(counts * self.lengths)


class _Layer:
    """A layer that is periodic in its plane, between walls at z = 0 and at its height."""

    pbc = (True, True, False)

    def __init__(self, plane: np.ndarray, height: float):
        self.height = height
        self.cell = np.zeros((3, 3))
        self.cell[:2, :2], self.cell[2, 2] = plane, height
        (a, b), (c, d) = plane
        self.inverse = np.array([[d, -b], [-c, a]]) / (a * d - b * c)

    def points(self, fractions: np.ndarray) -> np.ndarray:
        """Return the points with the given fractional coordinates."""
        return self.shifted(fractions)

    def nearest(self, vectors: np.ndarray) -> np.ndarray:
        """Return vectors to the nearest images, or to near ones if the cell is oblique."""
        return np.asarray(vectors - self.shifted(np.round(self._counts(vectors))))

    def wrapped(self, points: np.ndarray) -> np.ndarray:
        """Return the images of points in the cell."""
        return np.asarray(points - self.shifted(np.floor(self._counts(points))))

    def shifted(self, counts: np.ndarray) -> np.ndarray:
        """Return sums of cell vectors."""
        x, y, z = np.moveaxis(counts, -1, 0)
        (a, b), (c, d) = self.cell[:2, :2]
        return np.stack([x * a + y * c, x * b + y * d, z * self.cell[2, 2]], axis=-1)

    def _counts(self, vectors: np.ndarray) -> np.ndarray:
        x, y, _ = np.moveaxis(vectors, -1, 0)
        (a, b), (c, d) = self.inverse
        return np.stack([x * a + y * c, x * b + y * d, np.zeros_like(x)], axis=-1)


class _Relaxation:
    """The state of a packing: centres and orientations (unit quaternions) of all bodies, and their velocities."""

    def __init__(self, bodies: Bodies, space: _Box | _Layer):
        self.space, self.contacts = space, bodies.contacts
        sizes = np.array([len(shape) for shape in bodies.shapes])
        self.n_bodies, self.ends = len(sizes), np.cumsum(sizes)
        self.body = np.repeat(np.arange(self.n_bodies), sizes)
        self.species = np.concatenate(list(bodies.species))
        self.shape = np.concatenate([shape - shape.mean(axis=0) for shape in bodies.shapes])
        self.masses = sizes.astype(float)[:, None]
        squares = np.bincount(self.body, (self.shape**2).sum(axis=1))
        # The mean moment of inertia of each body; single atoms do not rotate.
        self.inertia = np.maximum(squares, 1e-3)[:, None]
        self.centres = np.zeros((self.n_bodies, 3))
        self.turns = np.tile([1.0, 0.0, 0.0, 0.0], (self.n_bodies, 1))

    def positions(self) -> np.ndarray:
        """Return the positions of all atoms in Å."""
        return np.asarray(self.centres[self.body] + rotate(self.shape, self.turns[self.body]))

    def add_at_random(self, rng: np.random.Generator) -> None:
        """Add the bodies one by one, each at the first of some random positions without overlap, or at the best one."""
        positions = np.zeros_like(self.shape)
        for number, end in enumerate(self.ends):
            check_time()
            start = int(end - self.masses[number, 0])
            centres = np.round(self.space.points(rng.random((N_TRIALS, 3))), DECIMALS)
            turns = _normalised(rng.normal(size=(N_TRIALS, 4)))
            shapes = rotate(np.tile(self.shape[start:end], (N_TRIALS, 1, 1)), turns[:, None])
            trials = centres[:, None] + shapes
            vectors = self.space.nearest(trials[:, :, None] - positions[:start])
            limits = self.contacts[self.species[start:end][:, None], self.species[:start]]
            overlaps = np.maximum(limits - _norm(vectors), 0).max(axis=(1, 2), initial=0.0)
            if self.space.height is not None:
                heights = trials[:, :, 2]
                overlaps = np.maximum(overlaps, np.maximum(-heights, heights - self.space.height).max(axis=1))
            best = int(np.round(overlaps, DECIMALS).argmin())
            self.centres[number], self.turns[number] = centres[best], turns[best]
            positions[start:end] = trials[best]

    def remove_overlaps(self) -> float:
        """Move the bodies apart, and return the scale of `Packing`."""
        velocity, spin = np.zeros((self.n_bodies, 3)), np.zeros((self.n_bodies, 3))
        timestep, mixing, since = TIMESTEP, MIXING, 0
        for _ in range(N_STEPS):
            check_time()
            force, torque, ratios = self._forces()
            if ratios.min(initial=1.0) >= 1:
                return 1.0
            if max(np.abs(force).max(), np.abs(torque).max()) < JAMMED:
                break
            power = float((force * velocity).sum() + (torque * spin).sum())
            if power > 0:
                kinetic = (self.masses * velocity**2).sum() + (self.inertia * spin**2).sum()
                squared = (force**2 / self.masses).sum() + (torque**2 / self.inertia).sum()
                along = mixing * np.sqrt(kinetic / squared) if squared > 0 else 0.0
                velocity = (1 - mixing) * velocity + along * force / self.masses
                spin = (1 - mixing) * spin + along * torque / self.inertia
                since += 1
                if since > DELAY:
                    timestep, mixing = min(timestep * GROWTH, MAX_TIMESTEP), mixing * MIXING_DECAY
            else:
                velocity, spin = np.zeros_like(velocity), np.zeros_like(spin)
                timestep, mixing, since = timestep * SHRINKAGE, MIXING, 0
            velocity = velocity + timestep * force / self.masses
            spin = spin + timestep * torque / self.inertia
            self._move(timestep * velocity, timestep * spin)
        ratios = ratios[ratios < INFLATION] / INFLATION
        weights = 1 - ratios
        return float((weights * ratios).sum() / weights.sum())

    def _move(self, steps: np.ndarray, angles: np.ndarray) -> None:
        centres = self.centres + steps
        self.centres = np.round(self.space.wrapped(centres), DECIMALS)
        half = np.concatenate([np.ones((self.n_bodies, 1)), angles / 2], axis=1)
        self.turns = _normalised(_product(_normalised(half), self.turns))

    def _forces(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the forces, the torques, and the distances of close pairs in units of their contact distances."""
        from matscipy.neighbours import neighbour_list

        positions = self.positions()
        first, second, shifts = neighbour_list(
            'ijS', positions=positions, cell=self.space.cell, pbc=np.array(self.space.pbc),
            cutoff=INFLATION * float(self.contacts.max()),
        )  # fmt: skip
        # Atoms of one body repel each other's periodic images, but not each other.
        others = (self.body[first] != self.body[second]) | shifts.any(axis=1)
        first, second, shifts = first[others], second[others], shifts[others]
        limits = self.contacts[self.species[first], self.species[second]]
        vectors = positions[second] - positions[first] + self.space.shifted(shifts)
        distances = _norm(vectors)
        overlaps = np.maximum(INFLATION * limits - distances, 0)
        pushes = -vectors * (overlaps / np.maximum(distances, 1e-6))[:, None]
        atoms = np.stack([np.bincount(first, pushes[:, axis], len(positions)) for axis in range(3)], axis=1)
        ratios = distances / limits
        if self.space.height is not None:
            wall_ratios = self._push_from_walls(positions[:, 2], atoms)
            ratios = np.concatenate([ratios, wall_ratios])
        arms = positions - self.centres[self.body]
        torques = np.stack(
            [arms[:, i] * atoms[:, j] - arms[:, j] * atoms[:, i] for i, j in ((1, 2), (2, 0), (0, 1))], axis=1
        )
        return self._sum(atoms), self._sum(torques), ratios

    def _push_from_walls(self, heights: np.ndarray, forces: np.ndarray) -> np.ndarray:
        """Add the forces of the walls, and return the distances from the walls in units of the contact distance.

        Each wall acts like atoms at the largest contact distance behind it.
        """
        assert self.space.height is not None
        reach = float(self.contacts.max())
        lower, upper = heights + reach, self.space.height - heights + reach
        forces[:, 2] += np.maximum(INFLATION * reach - lower, 0) - np.maximum(INFLATION * reach - upper, 0)
        return np.concatenate([lower, upper]) / reach

    def _sum(self, values: np.ndarray) -> np.ndarray:
        return np.stack([np.bincount(self.body, values[:, axis]) for axis in range(3)], axis=1)


def rotate(vectors: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """Return vectors (..., 3), rotated by unit quaternions (..., 4) with the scalar first."""
    w, x, y, z = np.moveaxis(turns, -1, 0)
    a, b, c = np.moveaxis(vectors, -1, 0)
    return np.stack([
        (1 - 2 * (y * y + z * z)) * a + 2 * (x * y - w * z) * b + 2 * (x * z + w * y) * c,
        2 * (x * y + w * z) * a + (1 - 2 * (x * x + z * z)) * b + 2 * (y * z - w * x) * c,
        2 * (x * z - w * y) * a + 2 * (y * z + w * x) * b + (1 - 2 * (x * x + y * y)) * c,
    ], axis=-1)  # fmt: skip


def _product(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the products of quaternions (n, 4)."""
    a, b, c, d = left.T
    e, f, g, h = right.T
    return np.stack([
        a * e - b * f - c * g - d * h,
        a * f + b * e + c * h - d * g,
        a * g - b * h + c * e + d * f,
        a * h + b * g - c * f + d * e,
    ], axis=1)  # fmt: skip


def _normalised(quaternions: np.ndarray) -> np.ndarray:
    rounded = np.round(quaternions / np.sqrt((quaternions**2).sum(axis=1))[:, None], DECIMALS)
    return np.asarray(rounded / np.sqrt((rounded**2).sum(axis=1))[:, None])


def _norm(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(np.sqrt((vectors**2).sum(axis=-1)))
