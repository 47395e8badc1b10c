from __future__ import annotations

import ast
import re
import sys
from importlib.metadata import packages_distributions, requires
from pathlib import Path

# Bound late, each by the extra of its calculator.
EXTRAS = {'sevenn', 'mace', 'torch'}
# Stands and falls with pydantic.
SECOND_HALVES = {'pydantic_core'}


def _imported(root: Path) -> set[str]:
    modules = set()
    for path in (root / 'aiida_mlip_autopipe').rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules |= {alias.name.split('.')[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules.add(node.module.split('.')[0])
    return modules - sys.stdlib_module_names - EXTRAS - SECOND_HALVES - {'aiida_mlip_autopipe'}


def test_every_package_that_is_imported_is_a_declared_dependency(root: Path) -> None:
    declared = {
        re.split(r'[^A-Za-z0-9._-]', line)[0].lower()
        for line in requires('aiida-mlip-autopipe') or ()
        if 'extra ==' not in line
    }
    owners = packages_distributions()
    undeclared = {
        module for module in _imported(root) if not {owner.lower() for owner in owners.get(module, [])} & declared
    }
    assert undeclared == set()
