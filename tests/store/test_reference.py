from pathlib import Path

from zosnet.store.reference import settings_reference
from zosnet.store.settings import OPTIONS

PAGE = Path(__file__).parents[2] / "docs" / "guide" / "settings.md"


def test_the_page_is_the_one_that_the_declarations_make() -> None:
    """Write it anew with `python -m zosnet.store.reference > docs/guide/settings.md`."""
    assert PAGE.read_text() == settings_reference()


def test_every_option_is_on_the_page() -> None:
    page = settings_reference()
    assert all(f"`{each.name}`" in page and f"`{each.variable}`" in page for each in OPTIONS)
