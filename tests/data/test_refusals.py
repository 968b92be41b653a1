"""Claims about refusals: each is one line with its reason, and they are counted by reason."""

import pytest

from crossmodal_peft.data.refusals import Unusable, by_reason, decoding


def test_reasons_are_counted_by_kind_without_names_numbers_and_details():
    reasons = [
        "0.png: cannot be decoded: broken PNG file",
        "a b (1).jpeg: cannot be decoded: image file is truncated (3 bytes not processed)",
        "sounds/1.wav: no such file",
        "v1.mp4#t=3.000,5.000: is silent: 8000 samples of the same value",
        "row 3: duplicate id",
        "row 12: duplicate id",
        "split is 'dev', not one of: train, validation, test",
        "starts at 50 s, outside the video's 6.1 s",
    ]
    assert by_reason(reasons).split(", ", 2)[:2] == ["2 cannot be decoded", "2 duplicate id"]
    for part in (
        "1 no such file",
        "1 is silent",
        "1 split is …, not one of",
        "1 starts at … s, outside",
    ):
        assert part in by_reason(reasons)
    assert by_reason([]) == ""


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("bad\n  header"), "cannot be decoded: bad header"),
        (KeyError(3), "cannot be decoded: KeyError: 3"),
        (PermissionError(13, "Permission denied", "/a/b.png"), "cannot be decoded: Permission denied"),
        (MemoryError(), "cannot be decoded: MemoryError: "),
        (FileNotFoundError(2, "x"), "no such file"),
        (Unusable("is silent"), "is silent"),
    ],
)
def test_a_decoders_exception_becomes_one_line(error, reason):
    with pytest.raises(Unusable) as refusal, decoding():
        raise error
    assert str(refusal.value) == reason


def test_an_interruption_is_no_refusal():
    with pytest.raises(KeyboardInterrupt), decoding():
        raise KeyboardInterrupt
