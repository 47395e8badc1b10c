import base64
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.reporting import figures
from aiida_mlip_autopipe.reporting.report_card import SCORES, estimate_dft_cost, write_report_card
from aiida_mlip_autopipe.reporting.structure_view import VIEW_ID, encode_structure
from aiida_mlip_autopipe.storage import Row, make_row

CURVE = {'n': [1, 2], 'radius': [0.4, 0.2], 'mean': [0.2, 0.1]}
POINTS = {'x': [0.0, 1.0], 'y': [1.0, 0.0], 'name': ['Cu, seed <a>', 'Cu, seed b']}
ASSESSMENT = {
    'n_candidates': 77,
    'n_compared': 77,
    'curve': CURVE,
    'random_curve': CURVE | {'radius': [0.5, 0.375]},
    'scores': dict.fromkeys(SCORES, 0.5) | {'vendi': 7.25},
    'random_scores': dict.fromkeys(SCORES, 0.25) | {'vendi': 3.125},
    'map': {'candidates': POINTS, 'chosen': POINTS},
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'cu_au.html'


def titles(path):
    return re.findall('<h2>(.*?)</h2>', path.read_text())


def test_a_card_contains_the_figures_and_numbers_of_the_rows(path, make_rows):
    write_report_card(path, make_rows(4))
    assert titles(path) == [
        'Distributions',
        'Cost of labelling by DFT',
        'Compositions',
        'Cell vectors',
        'Cell angles',
        'Volumes',
        'Densities',
        'Energies',
        'Energies by temperature',
        'Forces',
        'Forces by temperature',
        'Neighbours',
    ]
    assert json.loads(path.with_suffix('.json').read_text())['dataset']['n_rows'] == 4


def test_a_card_says_how_many_candidates_are_compared(path, make_rows):
    write_report_card(path, make_rows(4), assessment=ASSESSMENT)
    assert '<p>77 candidate frames.</p>' in path.read_text()
    write_report_card(path, make_rows(4), assessment=ASSESSMENT | {'n_candidates': 10_900}, overwrite=True)
    assert '10900 candidate frames, of which 77 random ones are compared' in path.read_text()


def test_an_assessment_adds_the_map_and_the_comparison_with_random_selection(path, make_rows):
    write_report_card(path, make_rows(4), assessment=ASSESSMENT)
    assert {'Comparison with a random selection of the same size', 'Map', 'Coverage'} <= set(titles(path))
    page = path.read_text()
    assert '77 candidate frames' in page
    assert '(Vendi score)</td><td>7.25</td><td>3.125</td>' in page
    assert json.loads(path.with_suffix('.json').read_text())['assessment']['scores']['vendi'] == 7.25


def test_a_card_contains_the_contents_of_the_stored_sets(path, make_rows):
    rows = make_rows(3)
    for row, split in zip(rows, ('train', 'train', 'test'), strict=True):
        row.key_value_pairs.update({'split': split, 'label': f'<{split}>', 'temperature': 300.0})
    write_report_card(path, rows)
    assert 'Sets' in titles(path)
    for title, numbers in (
        ('rows', (2, 0, 1)),
        ('kind alloy', (2, 0, 1)),
        ('label &lt;test&gt;', (0, 0, 1)),
        ('composition AuCu2', (2, 0, 1)),
        ('temperature 300 K', (2, 0, 1)),
    ):
        assert f'<td>{title}</td>' + ''.join(f'<td>{number}</td>' for number in numbers) in path.read_text()


def test_a_card_contains_the_tables_of_the_campaign(path, make_rows):
    write_report_card(path, make_rows(2), campaign={'Seeds <all>': {'made': 12345, 'hours': 0.25, 'why': 'a<b'}})
    page = path.read_text()
    assert '<h2>Seeds &lt;all&gt;</h2>' in page
    for cells in ('made</td><td>12,345</td>', 'hours</td><td>0.25</td>', 'why</td><td>a&lt;b</td>'):
        assert cells in page
    assert json.loads(path.with_suffix('.json').read_text())['campaign']['Seeds <all>']['made'] == 12345


def test_each_structure_is_in_the_box_of_its_temperature_interval(make_rows):
    rows = [row for T in (300.0, 500.0, 1100.0) for row in make_rows(4, temperature_K=T)]
    (box,) = figures.draw_energies_by_temperature(rows).data
    assert sorted(set(box.x)) == ['1100', '300', '500']
    assert len(box.y) == 12
    (box,) = figures.draw_forces_by_temperature(make_rows(3, target_temperature_K=600.0)).data
    assert set(box.x) == {'600'}


def test_the_density_of_copper_agrees_with_the_literature(make_provenance):
    copper = bulk('Cu', a=3.615)
    copper.calc = SinglePointCalculator(copper, energy=0.0, forces=np.zeros((1, 3)))
    (bars,) = figures.draw_densities([make_row(copper, make_provenance(), {})]).data
    assert np.dot(bars.x, bars.y) == pytest.approx(8.93, abs=0.02)


def test_a_molecule_without_a_cell_has_neighbours():
    (line,) = figures.draw_radial([Row(molecule('N2'))]).data
    assert np.asarray(line.x)[np.argmax(line.y)] == pytest.approx(1.1, abs=0.05)


def test_a_card_is_self_contained(path, make_rows):
    write_report_card(path, make_rows(1), assessment=ASSESSMENT)
    page = path.read_text()
    assert 'plotly.js v' in page
    assert not re.search(r'<script[^>]+src=|<link[^>]+href=', page)


def test_a_card_contains_the_warnings_of_the_selection(path, make_rows):
    write_report_card(path, make_rows(1), warnings=['fewer frames than requested <2>'])
    assert '<p class="warning">fewer frames than requested &lt;2&gt;</p>' in path.read_text()


def test_names_are_escaped(tmp_path, make_rows):
    path = tmp_path / 'a<b>.html'
    write_report_card(path, make_rows(1))
    assert '<h1>a&lt;b&gt;</h1>' in path.read_text()


def test_the_first_two_shells_of_a_close_packed_crystal_have_twelve_and_six_neighbours():
    crystal = bulk('Cu', a=3.6)
    (line,) = figures.draw_radial([Row(crystal), Row(crystal * 2)]).data
    assert line.name == 'Cu–Cu'
    distances, density = np.asarray(line.x), np.asarray(line.y)
    for distance, n_neighbours in ((3.6 / np.sqrt(2), 12), (3.6, 6)):
        near = np.abs(distances - distance) < 0.1
        assert density[near].sum() * 0.05 == pytest.approx(n_neighbours)


def test_the_histogram_of_energies_contains_each_structure(make_rows):
    figure = figures.draw_energies(make_rows(7))
    assert sum(sum(bars.y) for bars in figure.data) == 7


def test_angles_that_differ_only_by_rounding_errors_are_drawn(make_provenance):
    rows = []
    for number in range(20):
        atoms = bulk('Cu', a=3.5 + 0.02 * number)
        atoms.calc = SinglePointCalculator(atoms, energy=0.0, forces=np.zeros((1, 3)))
        rows.append(
            make_row(atoms, make_provenance(), {'kind': 'alloy', 'parent': str(number), 'composition': {'Cu': 1}})
        )
    angles = np.concatenate([row.atoms.cell.angles() for row in rows])
    assert 0 < np.ptp(angles) < 1e-9
    (bars,) = figures.draw_angles(rows).data
    assert sum(bars.y) == 60


def test_figures_without_data_are_not_drawn(path, slab, make_provenance):
    slab.pbc = False
    slab.calc.atoms.pbc = False
    write_report_card(path, [make_row(slab, make_provenance(temperature_K=None), {})])
    omitted = {
        'Forces by temperature',
        'Energies by temperature',
        'Volumes',
        'Densities',
        'Cell vectors',
        'Cell angles',
    }
    assert not omitted & set(titles(path))


def test_the_cost_of_dft_contains_the_cubed_numbers_of_atoms(make_rows):
    assert estimate_dft_cost(make_rows(2)) == {
        'atoms': 24,
        'electrons': 2 * (4 * 79 + 8 * 29),
        'atoms_cubed': 2 * 12**3,
    }


def test_existing_files_and_unsupported_suffixes_are_refused(path, make_rows):
    path.write_text('precious')
    with refused(Code.FILE_EXISTS, path.name):
        write_report_card(path, make_rows(1))
    assert path.read_text() == 'precious'
    with refused(Code.FILE_SUFFIX, '.html', 'cu_au.pdf'):
        write_report_card(path.with_suffix('.pdf'), make_rows(1))


def test_an_encoded_structure_is_rounded_to_a_hundredth_of_an_angstrom():
    atoms = bulk('NaCl', 'rocksalt', a=5.64)
    atoms.positions[1] += [-0.004, 0.004, 0.126]
    values = np.frombuffer(base64.b64decode(encode_structure(atoms)), '<i2')
    np.testing.assert_array_equal(values[:9].reshape(3, 3), [[0, 282, 282], [282, 0, 282], [282, 282, 0]])
    np.testing.assert_array_equal(values[9:].reshape(-1, 4), [[11, 0, 0, 0], [17, 282, 0, 13]])


def test_a_card_without_structures_draws_none(path, make_rows):
    write_report_card(path, make_rows(1), assessment=ASSESSMENT)
    assert VIEW_ID not in path.read_text()


# Moves the mouse over the last point of the map, the first figure, and stores the drawn structure in the page title.
HOVER = """<script>window.addEventListener('load', () => setTimeout(() => {
  const div = document.querySelector('.plotly-graph-div'), layout = div._fullLayout, at = div.getBoundingClientRect();
  const trace = div._fullData[1], last = trace.x.length - 1;
  const clientX = at.left + layout.margin.l + layout.xaxis.d2p(trace.x[last]);
  const clientY = at.top + layout.margin.t + layout.yaxis.d2p(trace.y[last]);
  div.querySelector('.nsewdrag').dispatchEvent(new MouseEvent('mousemove', {clientX, clientY, bubbles: true}));
  setTimeout(() => {
    const view = document.getElementById('structure-under-the-mouse');
    document.title = view._fullData.map(trace => trace.name + ' ' + trace.x.length).join(', ');
  }, 2000);
}, 2000));</script></body>"""


@pytest.mark.browser
@pytest.mark.skipif(shutil.which('chromium') is None, reason='Chromium is not installed')
def test_a_browser_without_a_network_draws_every_figure_and_the_structure_under_the_mouse(path, tmp_path, make_rows):
    salt = bulk('NaCl', 'rocksalt', a=5.64, cubic=True)
    # Both layers of this map have the same points.
    structures = {layer: [bulk('Cu'), salt] for layer in ('candidates', 'chosen')}
    write_report_card(path, make_rows(30), assessment=ASSESSMENT, structures=structures)
    path.write_text(path.read_text().replace('</body>', HOVER))
    options = ['--headless', '--no-sandbox', '--disable-gpu', '--host-resolver-rules=MAP * ~NOTFOUND']
    options += [f'--user-data-dir={tmp_path / "profile"}', '--virtual-time-budget=20000', '--dump-dom']
    done = subprocess.run(
        ['chromium', *options, path.as_uri()], capture_output=True, text=True, check=True, timeout=120
    )
    # Scripts contain the same class names, so they are removed.
    drawn = re.sub(r'<script.*?</script>', '', done.stdout, flags=re.DOTALL)
    assert len(re.findall(r'class="main-svg"', drawn)) >= 12
    assert drawn.count('class="plot-container') == 13
    assert 'first principal component' in drawn
    (shown,) = re.findall(r'class="hovertext".*?</g>', drawn, flags=re.DOTALL)
    assert 'Cu, seed b' in shown
    assert '<title>Na 4, Cl 4, trace 2 36</title>' in done.stdout
