"""What libraries have to say becomes part of a sentence."""

import pytest

from neural_render.core.errors import LONGEST_REASON, reason_of


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("one.\n  two. "), "one. two"),
        (FileNotFoundError(2, "No such file", "a.txt"), "No such file"),
        (ValueError(""), "no reason was given"),
    ],
)
def test_a_reason_is_one_line(error: Exception, reason: str) -> None:
    assert reason_of(error) == reason


def test_a_reason_is_not_long() -> None:
    assert reason_of(ValueError("x" * 9999)) == "x" * LONGEST_REASON + " ..."


def test_what_is_no_text_says_where() -> None:
    with pytest.raises(UnicodeDecodeError) as raised:
        b"a\xff".decode()
    assert reason_of(raised.value) == "its byte 1 is not of a text in UTF-8"
