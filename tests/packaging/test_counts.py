"""Messages put a number and its noun together with `counted`, so that none says "1 rows"."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

NOUNS = (
    'atoms|bits|campaigns|candidates|cells|characters|codes|columns|compositions|computers|crystals|datasets|defects|'
    'digits|duplicates|electrons|elements|entries|environments|epochs|errors|explorations|facets|files|frames|'
    'functions|groups|ions|jobs|kinds|labels|layers|legs|levels|lines|models|molecules|numbers|orderings|pairs|parts|'
    'points|processes|recoveries|redraws|reports|rounds|rows|runs|seeds|sets|sites|slabs|species|steps|structures|'
    'tests|trajectories|trials|types|vacancies|values|voids|warnings'
)
# A noun follows the number directly, or after one adjective.
NOUN = re.compile(rf' (?:(?!of )[a-z-]*[a-rt-z] )?({NOUNS})\b')
# Places where the number cannot be 1, with the reason. Constants and branches for other numbers need no entry.
NEVER_ONE = {
    ('campaigns/provenance/opened.py', 'len(found)'): 'an archive with one campaign is read',
    ('campaigns/labelling/convergence.py', 'settings.kind'): 'a verb after a name',
    ('cli/faults.py', 'len(line)'): 'a long line',
    ('config/overrides.py', 'len(text)'): 'a long text',
    ('core/reading/json_text.py', 'number.bit_length()'): 'an integer with more than 64 bits',
    ('core/yaml_file.py', 'len(node.value)'): 'a long number',
    ('descriptors/soap/density_expansion.py', 'n_max'): 'a single function does not depend on others',
    (
        'generation/chemistry/compensation.py',
        'sum(_totals(counts).values())',
    ): 'cations and anions',
    ('generation/chemistry/molecules.py', 'len(molecules)'): 'a single molecule needs no fraction',
    ('generation/chemistry/smiles.py', 'len(parts)'): 'a single part is allowed',
    ('generation/crystals/ordered.py', 'len(parts)'): 'an order has at least two elements',
    ('generation/crystals/supercells.py', 'n_sites'): 'several elements share the sites',
    ('generation/crystals/supercells.py', 'n_smallest'): 'more than a maximum',
    ('generation/databases/optimade.py', 'n_found'): 'more than a maximum',
    ('generation/defects/site_draws.py', 'symbol'): 'a symbol',
    ('generation/kinds/alloy.py', 'n_points'): 'more than a maximum',
    ('generation/kinds/amorphous.py', 'needed'): 'more than the number of atoms',
    ('generation/kinds/amorphous.py', 'smallest'): 'more than a maximum',
    ('generation/kinds/ion_conductor.py', 'n_sites'): 'every structure type has many sites',
    ('generation/kinds/molecular.py', 'needed'): 'more than the number of molecules',
    ('generation/limits.py', 'n_atoms'): 'more than a maximum',
    ('generation/particles/wetting.py', 'ideal'): 'not close to an integer',
    ('reporting/card.py', 'len(levels)'): 'several levels',
    ('reporting/publication.py', 'len(levels)'): 'several levels',
    ('storage/imports/ase_files.py', 'len(converters)'): 'the symbol and three coordinates',
    ('storage/imports/ase_files.py', 'width'): 'more than the number of columns in a line',
    ('storage/imports/checks.py', 'sizes[1]'): 'the larger of two numbers',
    ('training/split_dataset.py', 'len(levels)'): 'several levels',
    ('training/sets.py', 'len(rows)'): 'more rows than those with a set',
}


def uncounted(text: str) -> Iterator[tuple[str, str]]:
    """Yield each number in an f-string that a literal plural noun follows, with the noun."""
    tree = ast.parse(text)
    distinguished = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.IfExp) and re.search(r'(==|>) 1$', ast.unparse(node.test))
        for part in ast.walk(node)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.JoinedStr) or id(node) in distinguished:
            continue
        for number, rest in zip(node.values, node.values[1:], strict=False):
            if isinstance(number, ast.FormattedValue) and isinstance(rest, ast.Constant):
                found = NOUN.match(rest.value)
                shown = ast.unparse(number.value)
                if found and not shown.isupper():
                    yield shown, found[1]


def test_numbers_that_may_be_one_are_counted(root: Path) -> None:
    package = root / 'aiida_mlip_autopipe'
    found = {
        (path.relative_to(package).as_posix(), number)
        for path in package.rglob('*.py')
        for number, _ in uncounted(path.read_text())
    }
    assert found == NEVER_ONE.keys()


@pytest.mark.parametrize(
    ('text', 'found'),
    [
        ("f'{n} rows'", [('n', 'rows')]),
        ("f'{a} of {len(rows)} labelled rows were read'", [('len(rows)', 'rows')]),
        ("f'{n} K'", []),
        ("f'{path} has values'", []),
        ("f'{MAX_ROWS} rows'", []),
        ("'one row' if n == 1 else f'{n} rows'", []),
        ("""f'{counted(n, "row")} were read'""", []),
    ],
)
def test_a_plural_after_a_number_is_found(text: str, found: list[tuple[str, str]]) -> None:
    assert list(uncounted(text)) == found
