from __future__ import annotations

import ast
import re
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

# pydantic requires pydantic_core, and every calculator that is a neural network requires torch.
IMPLIED = {'pydantic_core', 'torch'}
# AiiDA loads the processes of these plugins by their entry points.
PLUGINS = {'aiida-ase', 'aiida-quantumespresso'}
# GPAW finds the setups of this package by itself.
DATA = {'gpaw-data'}


def _imported(root: Path) -> set[str]:
    """Return the third-party modules that the package imports."""
    modules = set()
    for path in (root / 'aiida_mlip_autopipe').rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules |= {alias.name.split('.')[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules.add(node.module.split('.')[0])
    return modules - sys.stdlib_module_names - IMPLIED - {'aiida_mlip_autopipe'}


@cache
def _installed() -> dict[str, list[str]]:
    """Return the distributions that provide each installed module."""
    # The distribution of a module that is not installed is assumed to have the same name; that of mace differs.
    return {'mace': ['mace-torch'], **packages_distributions()}


def _owners(module: str) -> set[str]:
    """Return the distributions that provide a module."""
    return {owner.lower() for owner in _installed().get(module, [module.replace('_', '-')])}


def _declared(project: dict) -> set[str]:
    """Return the distributions that the project and its extras depend on."""
    extras = project['optional-dependencies'].values()
    requirements = [*project['dependencies'], *(line for extra in extras for line in extra)]
    return {re.split(r'[^A-Za-z0-9._-]', line)[0].lower() for line in requirements}


def _unused(declared: set[str], modules: set[str]) -> set[str]:
    """Return the distributions of which no module is imported. In names, - and _ are equivalent."""
    used = {owner.replace('_', '-') for module in modules for owner in _owners(module)}
    return {name for name in declared if name.replace('_', '-') not in used}


def _project(root: Path) -> dict:
    return tomllib.loads((root / 'pyproject.toml').read_text())['project']


def test_every_imported_package_is_a_declared_dependency(root: Path) -> None:
    declared = _declared(_project(root))
    assert {module for module in _imported(root) if not _owners(module) & declared} == set()


def test_every_declared_dependency_is_imported(root: Path) -> None:
    assert _unused(_declared(_project(root)), _imported(root)) == PLUGINS | DATA


def test_an_invented_dependency_counts_as_unused(root: Path) -> None:
    project = _project(root)
    project['dependencies'].append('numpy-of-the-future>=3')
    project['optional-dependencies']['dreams'] = ['telepathy']
    assert _unused(_declared(project), _imported(root)) >= {'numpy-of-the-future', 'telepathy'}
