"""The second factor of our tests is the standard's own."""

from __future__ import annotations

import pytest

from tests.cluster.browser import totp

SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"  # RFC 6238 appendix B, SHA-1; its eight digits end in our six


@pytest.mark.parametrize(
    ("at", "code"), [(59, "287082"), (1111111109, "081804"), (1234567890, "005924"), (20000000000, "353130")]
)
def test_totp_agrees_with_rfc_6238(at: float, code: str) -> None:
    assert totp(SECRET, at) == code
