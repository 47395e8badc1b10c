from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

# pydantic_core stands and falls with pydantic, torch comes with every calculator that is a network.
IMPLIED = {'pydantic_core', 'torch'}


def _imported(root: Path) -> set[str]:
    modules = set()
    for path in (root / 'aiida_mlip_autopipe').rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules |= {alias.name.split('.')[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules.add(node.module.split('.')[0])
    return modules - sys.stdlib_module_names - IMPLIED - {'aiida_mlip_autopipe'}


def test_every_package_that_is_imported_is_a_declared_dependency(root: Path) -> None:
    project = tomllib.loads((root / 'pyproject.toml').read_text())['project']
    extras = project['optional-dependencies'].values()
    requirements = [*project['dependencies'], *(line for extra in extras for line in extra)]
    declared = {re.split(r'[^A-Za-z0-9._-]', line)[0].lower() for line in requirements}
    # A package that this environment lacks is known by its module's name, mace by that of its distribution.
    owners = {'mace': ['mace-torch']} | packages_distributions()
    undeclared = {
        module
        for module in _imported(root)
        if not {owner.lower() for owner in owners.get(module, [module.replace('_', '-')])} & declared
    }
    assert undeclared == set()
