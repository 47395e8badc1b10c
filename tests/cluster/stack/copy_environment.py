"""Copy requirements from the environment of this interpreter: ``copy_environment.py REQUIREMENT… FOLDER``.

The images of the tests reuse the environments of the tests, so that nothing is downloaded twice. Files are hard-linked
if the file system allows it. This package is excluded, because its wheel is installed in the image.
"""

from __future__ import annotations

import os
import shutil
import sys
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement


def find_distributions(requirements: list[str]) -> dict[str, Distribution]:
    """Return the distributions of requirements and of all their dependencies."""
    found: dict[str, Distribution] = {}
    queue = [Requirement(text) for text in requirements]
    seen: set[tuple[str, str]] = set()
    while queue:
        requirement = queue.pop()
        for extra in ('', *requirement.extras):
            if (requirement.name.lower(), extra) in seen:
                continue
            seen.add((requirement.name.lower(), extra))
            found[requirement.name.lower()] = one = distribution(requirement.name)
            for text in one.requires or ():
                dependency = Requirement(text)
                if dependency.marker is None or dependency.marker.evaluate({'extra': extra}):
                    queue.append(dependency)
    return found


def copy_files(one: Distribution, folder: Path) -> None:
    """Link or copy the files of a distribution in site-packages; programs are excluded."""
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


def main(requirements: list[str], folder: Path) -> None:
    """Copy the distributions of requirements and dependencies, except this package."""
    distributions = find_distributions([*requirements, 'pip'])
    for name, one in distributions.items():
        if name != 'aiida-mlip-autopipe':
            copy_files(one, folder)


if __name__ == '__main__':
    main(sys.argv[1:-1], Path(sys.argv[-1]))
