"""A kind that another package adds through an entry point works like a built-in kind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / 'support' / 'molecular_crystals'
SCRIPT = """
import json
from pydantic import TypeAdapter
from aiida_mlip_autopipe.generation import GENERATORS, generate_seeds

entries = TypeAdapter(tuple[GENERATORS.settings_union(), ...]).validate_python([
    {'kind': 'molecular_crystal', 'molecule': 'H2O', 'n_seeds': 2, 'perturb': {'rattle_A': 0.02}},
    {'kind': 'alloy', 'composition': {'Cu': 1.0}},
])
seeds = generate_seeds(entries, random_seed=1, cutoff_A=0.0).seeds
print(json.dumps([[seed.record['kind'], seed.atoms.get_chemical_formula(empirical=True)] for seed in seeds]))
"""


def run(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', SCRIPT],
        env={**os.environ, **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_kind_of_another_package_gives_seeds():
    done = run(PYTHONPATH=str(PACKAGE))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [['molecular_crystal', 'H2O']] * 2 + [['alloy', 'Cu']]


def test_a_kind_is_unknown_without_its_package():
    done = run()
    assert done.returncode != 0
    assert 'molecular_crystal' in done.stderr
