import pytest
from hypothesis import given
from hypothesis import strategies as st

from framekeep.tables import shown_bound, shown_share


@pytest.mark.parametrize(
    ("share", "shown"), [(0.0, "0.0 %"), (1e-9, "<0.1 %"), (0.0004, "<0.1 %"), (0.201, "20.1 %"), (1.0, "100.0 %")]
)
def test_a_share_above_nothing_is_never_shown_as_nothing(share: float, shown: str) -> None:
    assert shown_share(share) == shown


@pytest.mark.parametrize(
    ("share", "shown"),
    [(0.041, "4.1 %"), (0.04101, "4.2 %"), (0.00613, "0.62 %"), (3e-6, "0.0003 %"), (0.995, "100 %"), (1.34, "140 %")],
)
def test_what_something_is_at_most_is_rounded_up_to_two_digits(share: float, shown: str) -> None:
    assert shown_bound(share) == shown


@given(st.floats(1e-6, 10))
def test_a_bound_is_never_below_what_it_bounds(share: float) -> None:
    shown = float(shown_bound(share).removesuffix(" %")) / 100

    assert share * (1 - 1e-12) <= shown <= share * 1.1 + 1e-12
