"""The table of faults names exactly the tests with the mark ``chaos``."""

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / 'docs' / 'topics' / 'restart.md'


def is_chaos(nodes):
    return any('pytest.mark.chaos' in ast.unparse(node) for node in nodes)


def find_tests():
    for path in TESTS.rglob('test_*.py'):
        tree = ast.parse(path.read_text())
        whole = is_chaos(
            node.value
            for node in tree.body
            if isinstance(node, ast.Assign) and ast.unparse(node.targets) == 'pytestmark'
        )
        for node in tree.body:
            is_test = isinstance(node, ast.FunctionDef) and node.name.startswith('test_')
            if is_test and (whole or is_chaos(node.decorator_list)):
                yield f'{path.relative_to(TESTS)}::{node.name}'


def test_each_row_names_its_tests_and_each_test_has_a_row():
    named = re.findall(r'`([\w/]+\.py::\w+)`', PAGE.read_text())
    assert sorted(set(named)) == sorted(find_tests())


def test_each_row_has_a_test():
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith('| ') and not line.startswith('| fault')]
    assert len(rows) > 15
    assert [row for row in rows if '.py::' not in row.split('|')[4]] == []
