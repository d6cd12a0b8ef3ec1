import pytest

from zosnet.model import MessageId, UsageError


def test_the_text_form_is_sixteen_digits() -> None:
    id = MessageId(bytes(range(1, 9)))
    assert str(id) == id.hex == "0102030405060708"
    assert MessageId.parse(str(id)) == id


@pytest.mark.parametrize("text", ["", "01", "x" * 16, "é" * 16, "0x" + "0" * 14])
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        MessageId.parse(text)


def test_eight_bytes_or_nothing() -> None:
    with pytest.raises(UsageError):
        MessageId(b"seven..")
