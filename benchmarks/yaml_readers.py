"""Comparison of the reader of config files with ruamel.yaml: `python benchmarks/yaml_readers.py`.

The output is the CPU time for all example configs, and the plain scalars that the two read differently.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ruamel.yaml import YAML

from aiida_mlip_autopipe.core.yaml_file import read_yaml_file

CONFIGS = sorted((Path(__file__).parents[1] / 'workchains/configs').glob('*.yaml'))
SCALARS = (
    'No',
    'on',
    '1e-3',
    '.5',
    '.5e3',
    '._',
    '007',
    '0o17',
    '0x1F',
    '0b11',
    '1_000',
    '12:30:00',
    '2024-01-01',
    '=',
)


def read_by_ruamel(path: Path) -> Any:
    return YAML(typ='safe', pure=True).load(path.read_text(encoding='utf-8'))


def milliseconds(read: Callable[[Path], Any]) -> float:
    """Return the CPU time to read all configs in ms: the smallest of five."""
    spent = []
    for _ in range(5):
        started = time.process_time()
        for path in CONFIGS:
            read(path)
        spent.append(time.process_time() - started)
    return 1000 * min(spent)


def outcome(read: Callable[[Path], Any], path: Path) -> str:
    """Return the value of a key, or the error."""
    try:
        return repr(read(path)['key'])
    except Exception as error:
        return f'{type(error).__name__}: {str(error).splitlines()[0]}'


def main() -> None:
    """Print the results."""
    own, other = milliseconds(read_yaml_file), milliseconds(read_by_ruamel)
    print(f'{len(CONFIGS)} configs: {own:.0f} ms, ruamel.yaml: {other:.0f} ms, ratio: {other / own:.2f}')
    with TemporaryDirectory() as name:
        path = Path(name) / 'scalar.yaml'
        for text in SCALARS:
            path.write_text(f'key: {text}\n', encoding='utf-8')
            here, there = outcome(read_yaml_file, path), outcome(read_by_ruamel, path)
            if here != there:
                print(f'{text:12s} {here:14s} ruamel.yaml: {there}')


if __name__ == '__main__':
    main()
