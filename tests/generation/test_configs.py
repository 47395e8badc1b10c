"""Every example config gives all its seeds."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import TypeAdapter

from aiida_mlip_autopipe.generation import GENERATORS, complete_elements, count_seeds, generate_seeds

CONFIGS = Path(__file__).parents[2] / 'workchains' / 'configs'
EXAMPLES = sorted(path for kind in GENERATORS for path in CONFIGS.glob(f'{kind}_*.yaml'))
MARKED = [
    pytest.param(
        path,
        id=path.stem,
        marks=[pytest.mark.integration] if path.stem.endswith('_full') or path.stem.startswith('formula') else [],
    )
    for path in EXAMPLES
]
SEVENNET_CUTOFF_A = 5.0


@pytest.mark.parametrize('path', MARKED)
def test_an_example_config_gives_all_its_seeds(path):
    config = yaml.safe_load(path.read_text(encoding='utf8'))
    adapter = TypeAdapter(tuple[GENERATORS.settings_union(), ...])
    entries = complete_elements(adapter.validate_python(config['generation'], context={'folder': path.parent}))
    result = generate_seeds(entries, random_seed=config.get('random_seed', 0), cutoff_A=SEVENNET_CUTOFF_A)
    report = result.report
    assert len(result.seeds) == count_seeds(entries) - report['duplicates'] - report['skipped']
    assert len(report['entries']) == len(entries)
    assert all(counts['made'] for counts in report['entries'].values())
    assert all(len(seed.atoms) <= 500 for seed in result.seeds)


@pytest.mark.parametrize('kind', list(GENERATORS))
def test_every_kind_has_a_minimal_and_a_full_example(kind):
    assert {path.stem for path in EXAMPLES if path.stem.startswith(f'{kind}_')} == {f'{kind}_minimal', f'{kind}_full'}
