"""Numbers in messages agree with their nouns, and choices with the number of names."""

from __future__ import annotations

from aiida_mlip_autopipe.core.wording import counted, one_of


def test_one_has_the_singular_and_other_numbers_have_the_plural() -> None:
    assert [counted(number, 'row') for number in (0, 1, 2)] == ['0 rows', '1 row', '2 rows']
    assert counted(2, 'process') == '2 processes'


def test_the_only_name_is_not_one_of_several() -> None:
    assert [one_of(['a']), one_of(['a', 'b'])] == ['a', 'one of a, b']
