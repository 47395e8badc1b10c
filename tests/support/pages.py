"""The fenced blocks of the pages of the documentation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(r'^(?P<fence>`{3,}|:{3,})\s*(?P<info>.*)$')
OPTION = re.compile(r'^:(?P<name>[\w-]+):\s*(?P<value>.*)$')


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its caption (the name of its file), its text and the number of its first line."""

    language: str
    caption: str | None
    text: str
    line: int


def read_blocks(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page in order."""
    lines = iter(enumerate(page.read_text().splitlines(), start=1))
    for number, line in lines:
        match = FENCE.match(line)
        if match is None:
            continue
        language = match['info'].removeprefix('{code-block}').strip()
        caption, text = None, []
        for _, inner in lines:
            if inner.strip() == match['fence']:
                break
            option = OPTION.match(inner) if not text else None
            if option is None:
                text.append(inner)
            elif option['name'] == 'caption':
                caption = option['value']
        yield Block(language, caption, '\n'.join(text).strip('\n') + '\n', number)


def shows(shown: str, printed: str) -> bool:
    """Return whether a command printed the output that the page shows, where … matches any text."""
    pattern = '.*?'.join(re.escape(' '.join(piece.split())) for piece in shown.split('…'))
    return re.search(pattern, ' '.join(printed.split()), flags=re.DOTALL) is not None
