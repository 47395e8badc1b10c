"""Copy what a package needs out of the environment of this interpreter: ``copy_environment.py REQUIREMENT… FOLDER``.

An image with a calculator is made of the environment that the tests have anyway, so that nothing is downloaded twice.
Files are linked where the file system allows it. The package itself is left out: the image gets its wheel.
"""

from __future__ import annotations

import os
import shutil
import sys
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement


def find_distributions(wanted: list[str]) -> dict[str, Distribution]:
    """Return the distributions that requirements need, with all that these need."""
    found: dict[str, Distribution] = {}
    waiting = [Requirement(text) for text in wanted]
    seen: set[tuple[str, str]] = set()
    while waiting:
        requirement = waiting.pop()
        for extra in ('', *requirement.extras):
            if (requirement.name.lower(), extra) in seen:
                continue
            seen.add((requirement.name.lower(), extra))
            found[requirement.name.lower()] = one = distribution(requirement.name)
            for text in one.requires or ():
                further = Requirement(text)
                if further.marker is None or further.marker.evaluate({'extra': extra}):
                    waiting.append(further)
    return found


def copy_files(one: Distribution, folder: Path) -> None:
    """Link or copy a distribution's files that lie beside its metadata; programs are left out."""
    root = Path(str(one.locate_file('')))
    for file in one.files or ():
        source, target = root / file, folder / file
        if '..' in file.parts or not source.is_file() or target.exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, target)
        except OSError:
            shutil.copy2(source, target)


def main(wanted: list[str], folder: Path) -> None:
    """Copy the distributions that requirements need, without this package."""
    distributions = find_distributions([*wanted, 'pip'])
    for name, one in distributions.items():
        if name != 'aiida-mlip-autopipe':
            copy_files(one, folder)


if __name__ == '__main__':
    main(sys.argv[1:-1], Path(sys.argv[-1]))
