from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from ase.build import bulk, fcc111, surface
from pymatgen.analysis.interfaces.zsl import ZSLGenerator
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.generation.limits import time_limit
from aiida_mlip_autopipe.generation.surfaces.matching import find_matches, nearest_misses
from aiida_mlip_autopipe.generation.surfaces.superlattices import SurfaceLattice, normal_form, surface_lattice


def lattice(first, second) -> SurfaceLattice:
    """Return a plane lattice with all rotations and reflections of its vectors, found by trial."""
    cell = np.array([first, second], dtype=float)
    steps = [np.array(step).reshape(2, 2) for step in product((-1, 0, 1), repeat=4)]
    found = [np.linalg.solve(cell, step @ cell) for step in steps]
    return SurfaceLattice(cell, np.array([one for one in found if np.allclose(one @ one.T, np.eye(2), atol=1e-9)]))


def square(a: float) -> SurfaceLattice:
    return lattice([a, 0], [0, a])


def hexagonal(a: float) -> SurfaceLattice:
    return lattice([a, 0], [a / 2, a * np.sqrt(3) / 2])


def stretches(match) -> tuple[float, ...]:
    return tuple(np.round(np.linalg.svd(match.deformation)[1], 6))


PAIRS = {
    'Ni(111) on Cu(111)': (hexagonal(2.489), hexagonal(2.553)),
    'MgO(100) on Fe(100)': (square(2.977), square(2.87)),
    'Al(111) on Si(100)': (hexagonal(2.864), square(3.840)),
    'oblique': (lattice([3.0, 0], [0.7, 4.1]), lattice([3.3, 0], [-1.2, 5.0])),
}


@pytest.mark.parametrize('film_fraction', [0.0, 0.5, 1.0])
@pytest.mark.parametrize('pair', list(PAIRS))
def test_the_strained_lattices_coincide_and_no_limit_is_exceeded(pair, film_fraction):
    film, substrate = PAIRS[pair]
    matches = list(find_matches(film, substrate, max_strain=0.04, max_area_A2=110, film_fraction=film_fraction))
    assert matches
    for match in matches:
        assert match.film @ film.cell @ match.deformation == pytest.approx(match.substrate @ substrate.cell)
        assert round(np.linalg.det(match.film)) > 0  # the film is not mirrored
        assert round(np.linalg.det(match.substrate)) > 0
        assert match.substrate_area_A2 == pytest.approx(round(np.linalg.det(match.substrate)) * substrate.area_A2)
        assert match.substrate_area_A2 <= 110
        for steps, side in ((match.film, film), (match.substrate, substrate)):
            stretch = np.linalg.svd(np.linalg.solve(steps @ side.cell, match.cell))[1]
            assert np.abs(stretch - 1).max() <= 0.04 + 1e-9


@pytest.mark.parametrize('pair', list(PAIRS))
def test_matches_are_distinct_primitive_and_ordered_by_area_and_strain(pair):
    film, substrate = PAIRS[pair]
    matches = list(find_matches(film, substrate, max_strain=0.04, max_area_A2=110))
    keys = [(round(match.substrate_area_A2, 4), round(match.max_strain, 7)) for match in matches]
    assert keys == sorted(keys)
    for number, match in enumerate(matches):
        # The lattice of all vectors that both lattices share is not finer than the common cell.
        shared = normal_form(match.film.tolist()) @ film.cell @ match.deformation
        fractions = shared @ np.linalg.inv(substrate.cell)
        assert np.abs(fractions - np.rint(fractions)).max() < 1e-6
        vectors = np.array(list(product(range(-9, 10), repeat=2)))
        images = vectors @ film.cell @ match.deformation @ np.linalg.inv(substrate.cell)
        common = vectors[np.abs(images - np.rint(images)).max(axis=1) < 1e-5]
        inside = common @ np.linalg.inv(match.film)
        assert np.abs(inside - np.rint(inside)).max() < 1e-6
        for other in matches[:number]:
            images = [
                one @ match.deformation @ two for one in film.operations for two in substrate.operations
                if np.linalg.det(one) * np.linalg.det(two) > 0
            ]  # fmt: skip
            assert min(np.abs(image - other.deformation).max() for image in images) > 1e-5


@pytest.mark.integration  # pymatgen compiles its search first
@pytest.mark.parametrize(
    ('pair', 'max_area_A2'), [('MgO(100) on Fe(100)', 110), ('Al(111) on Si(100)', 130), ('oblique', 110)]
)
def test_every_match_of_pymatgen_without_a_mirrored_film_is_found(pair, max_area_A2):
    film, substrate = PAIRS[pair]
    generator = ZSLGenerator(
        max_area_ratio_tol=0.2, max_area=max_area_A2, max_length_tol=0.08, max_angle_tol=0.08, bidirectional=True
    )
    vectors = [np.column_stack([side.cell, [0, 0]]) for side in (film, substrate)]
    theirs = set()
    for match in generator(*vectors):
        cells = [np.array(one)[:, :2] for one in (match.film_sl_vectors, match.substrate_sl_vectors)]
        deformation = np.linalg.solve(*cells)
        stretch = np.linalg.svd(deformation)[1]
        if np.linalg.det(deformation) > 0 and np.abs(stretch - 1).max() < 0.04:
            theirs.add(tuple(np.round(stretch, 6)))
    ours = {stretches(match) for match in find_matches(film, substrate, max_strain=0.04, max_area_A2=1.1 * max_area_A2)}
    assert theirs
    assert theirs <= ours


@pytest.mark.integration
def test_nearly_equal_oblique_lattices_whose_reduced_cells_differ_match():
    film, substrate = lattice([3.0, 0], [0.3, 4.1]), lattice([3.05, 0], [-0.3, 4.05])
    first = next(find_matches(film, substrate, max_strain=0.05, max_area_A2=100))
    generator = ZSLGenerator(
        max_area_ratio_tol=0.2, max_area=100, max_length_tol=0.05, max_angle_tol=0.05, bidirectional=True
    )
    vectors = [np.column_stack([side.cell, [0, 0]]) for side in (film, substrate)]
    areas = []
    for match in generator(*vectors):
        cells = [np.array(one)[:, :2] for one in (match.film_sl_vectors, match.substrate_sl_vectors)]
        if np.linalg.det(np.linalg.solve(*cells)) > 0:
            areas.append(abs(np.linalg.det(cells[1])))
    assert first.substrate_area_A2 == pytest.approx(3 * substrate.area_A2)
    assert min(areas) > 2 * first.substrate_area_A2


def test_a_shift_by_a_vector_of_either_lattice_is_a_sum_of_displacement_vectors():
    film, substrate = PAIRS['Al(111) on Si(100)']
    matches = list(find_matches(film, substrate, max_strain=0.06, max_area_A2=110))
    assert len(matches) > 2
    for match in matches:
        steps = [
            np.linalg.solve(side, match.cell) @ np.linalg.inv(match.displacements)
            for side in (match.film, match.substrate)
        ]
        assert np.abs(np.array(steps) - np.rint(steps)).max() < 1e-6
        # The area of the cell is that of the common cell, divided by the index of the common lattice.
        index = match.area_A2 / abs(np.linalg.det(match.displacements))
        assert index == pytest.approx(match.n_film * match.n_substrate)


@pytest.mark.parametrize(
    ('slab', 'order'),
    [
        (fcc111('Cu', (1, 1, 3), vacuum=5), 6),  # three-fold axis and mirrors
        (surface(bulk('Cu', cubic=True), (1, 0, 0), 2, vacuum=5), 8),
        (surface(bulk('Si', 'diamond', a=5.43), (1, 0, 0), 2, vacuum=5), 2),
    ],
)  # fmt: skip
def test_the_operations_of_a_slab_are_rotations_and_reflections_of_its_lattice(slab, order):
    slab.pbc = True
    found = surface_lattice(slab)
    assert len(found.operations) >= order
    assert found.operations[0] == pytest.approx(np.eye(2))
    for operation in found.operations:
        assert operation @ operation.T == pytest.approx(np.eye(2), abs=1e-6)
        steps = found.cell @ operation @ np.linalg.inv(found.cell)
        assert steps == pytest.approx(np.rint(steps), abs=1e-6)


def test_the_nearest_misses_are_the_best_in_strain_and_in_area():
    film, substrate = square(2.977), square(2.87)
    by_strain, by_area = nearest_misses(film, substrate, max_strain=0.023, max_area_A2=50)
    assert by_strain.substrate_area_A2 == pytest.approx(2.87**2)
    assert by_strain.max_strain == pytest.approx(1 - 2.87 / 2.977)
    assert by_area.substrate_area_A2 == pytest.approx(9 * 2.87**2)  # 3 by 3 on the film's 2√2 by 2√2
    assert by_area.max_strain == pytest.approx(3 * 2.87 / (np.sqrt(8) * 2.977) - 1)


def test_a_search_without_a_match_ends_at_its_time_limit():
    with refused(Code.TIME_LIMIT), time_limit(0.0, 'too long'):
        list(find_matches(square(2.977), square(2.87), max_strain=1e-6, max_area_A2=1000))
