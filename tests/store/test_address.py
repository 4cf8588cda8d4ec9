"""What a data folder's URL may say."""

from __future__ import annotations

import pytest

from lib.errors import UsageError
from lib.store.address import DRIVERS, read_store_address
from lib.store.objects import Objects


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("s3://clinic/visits", "s3://clinic/visits"),
        ("s3://clinic", "s3://clinic"),
        ("s3://clinic/a/b.c=d/", "s3://clinic/a/b.c=d"),
        ("gs://clinic_1/visits", "gs://clinic_1/visits"),
        ("abfs://files@account1.dfs.core.windows.net/visits", "abfs://files@account1.dfs.core.windows.net/visits"),
    ],
)
def test_an_address_is_read_and_written_the_same(text: str, url: str) -> None:
    assert read_store_address(text).url == url


@pytest.mark.parametrize(
    "text",
    [
        "s3://", "s3://u:CANARY@clinic/visits", "s3://clinic/a/../b", "s3://clinic//b", "s3://clinic/a b", "ftp://h/x",
        "s3://clinic/x?CANARY=1", "https://clinic.example/x", "abfs://files@CANARY.example/x", "s3://Clinic/x",
    ],
)  # fmt: skip
def test_another_is_a_usage_error_that_repeats_none_of_it(text: str) -> None:
    with pytest.raises(UsageError, match="s3://bucket/prefix") as told:
        read_store_address(text)
    assert "\n" not in str(told.value) and "CANARY" not in str(told.value)


@pytest.mark.parametrize("scheme", [each for each in DRIVERS if each != "s3"])
def test_a_driver_that_is_not_installed_is_named_with_its_extra(scheme: str) -> None:
    address = read_store_address({"gs": "gs://clinic/x", "abfs": "abfs://clinic/x"}[scheme])
    with pytest.raises(UsageError, match=f"extra {scheme}: .* install '{DRIVERS[scheme]}>="):
        Objects(address).tags()
