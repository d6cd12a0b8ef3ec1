"""Names against a second, naive reading of the rule, and the tricks that have been tried on registries."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zosnet.model import UsageError
from zosnet.model.name import Domain, Name, domain_trouble, label_trouble, name_trouble

INNER = string.ascii_lowercase + string.digits + "-"
near_labels = st.text(st.sampled_from(INNER + "A_.é \n"), max_size=66)
labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True).filter(lambda t: t[2:4] != "--")
tops = labels.filter(lambda text: len(text) >= 3)


def naive(text: str, shortest: int) -> bool:
    """The rule, letter by letter."""
    return (
        shortest <= len(text) <= 63
        and all(letter in INNER for letter in text)
        and not text.startswith("-")
        and not text.endswith("-")
        and not (len(text) > 3 and text[2] == "-" and text[3] == "-")
    )


@given(near_labels, st.sampled_from([1, 3]))
def test_a_label_is_what_the_rule_says_letter_by_letter(text: str, shortest: int) -> None:
    assert (label_trouble(text, shortest=shortest) is None) == naive(text, shortest)


@given(st.lists(labels, max_size=5), tops)
def test_a_name_is_its_labels_within_the_limits(subs: list[str], top: str) -> None:
    text = ".".join([*subs, top])
    assert (name_trouble(text) is None) == (len(subs) <= 3 and len(text) <= 253)


@given(st.lists(labels, max_size=3), tops)
def test_a_name_lies_under_each_of_its_ancestors(subs: list[str], top: str) -> None:
    text = ".".join([*subs, top])
    if name_trouble(text):
        return
    name = Name.parse(text)
    assert name.top == top and name.is_sub == bool(subs) and str(name) == text
    assert [each.text.count(".") for each in name.ancestry()] == list(range(len(subs), -1, -1))
    assert all(name.is_under(each) for each in name.ancestry())
    # One that only ends alike; by three letters, so that no hyphens come to where encoded labels have them.
    if len(top) <= 60:
        assert not Name(f"new{top}").is_under(Name(top)) and not Name(top).is_under(Name(f"new{top}"))


@pytest.mark.parametrize(
    "text",
    [
        "", "ab", "Shop", "shop.", ".shop", "a..shop", "-shop", "shop-", "xn--shop", "ab--cd", "sho p",
        "shop\n", "shop\x00", "shöp", "ѕhop", "shop_", "shop。eu", "٣٣٣", "a" * 64, "a.b.c.d.shop", "shop/",
        ".".join(["a" * 63] * 4),
    ],
)  # fmt: skip
def test_tricks_are_refused(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        Name.parse(text)
    assert refused.value.remedy


@pytest.mark.parametrize("text", ["a-b", "abc", "123", "a" * 63, "a--b", "x.y.z.shop", "w.shop"])
def test_names_that_are_good(text: str) -> None:
    assert Name.parse(text).text == text


@pytest.mark.parametrize("text", ["shop.example", "xn--80ak6aa92e.com", "a.b.c.d.e.f"])
def test_domains_that_are_good(text: str) -> None:
    assert str(Domain.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", "shop", "shop.", "Shop.example", "10.0.0.1", "a..b", "é.example", "a_b.example", "a." * 130]
)
def test_domains_that_are_not(text: str) -> None:
    assert domain_trouble(text) is not None
    with pytest.raises(UsageError):
        Domain.parse(text)
