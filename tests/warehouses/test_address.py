"""Where a server's warehouse is, as its URL says it; and what no URL may hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from lib.errors import UsageError
from lib.layout import Layout
from lib.warehouses.address import read_address


@pytest.mark.parametrize(
    ("url", "whole", "name"),
    [
        ("postgresql://db.clinic.org/visits", "postgresql://db.clinic.org/visits?schema=patient_visits", "visits"),
        ("postgresql:///visits", "postgresql:///visits?schema=patient_visits", "visits"),
        ("postgresql://h:5433/v?schema=own", "postgresql://h:5433/v?schema=own", "v.own"),
        ("postgresql://[::1]:5433/v", "postgresql://[::1]:5433/v?schema=patient_visits", "v"),
        ("snowflake://xy1.eu-west-1/v", "snowflake://xy1.eu-west-1/v?schema=patient_visits", "v"),
        ("snowflake://org-account/v?schema=own", "snowflake://org-account/v?schema=own", "v.own"),
        ("bigquery://clinic-1/visits", "bigquery://clinic-1/visits", "visits"),
    ],
)
def test_a_server_s_url_is_read_and_written_whole(tmp_path: Path, url: str, whole: str, name: str) -> None:
    address = read_address(url)
    assert (address.url, address.file_name) == (whole, f"{name}.{address.kind}")
    assert read_address(address.url) == address
    layout = Layout.at(tmp_path, url)
    assert (layout.kind, layout.url) == (address.kind, whole)
    assert layout.lock_file == tmp_path / f"{name}.{address.kind}.lock"
    assert layout.like(tmp_path / "copy").kind == "duckdb", "its copies are files"


@pytest.mark.parametrize(
    "url",
    [
        *("postgresql://CANARY:CANARY@h/v", "postgresql://CANARY@h/v", "postgresql://CANARY:CANARY@/v"),
        *("postgresql://@h/v", "snowflake://CANARY:CANARY@a/v", "bigquery://CANARY@p/v"),
    ],
)
def test_a_user_or_password_in_the_url_is_refused_and_not_repeated(url: str) -> None:
    words = {"p": "PGUSER and PGPASSWORD", "s": "SNOWFLAKE_PASSWORD or in connections.toml", "b": "let the driver find"}
    with pytest.raises(UsageError, match=words[url[0]]) as told:
        read_address(url)
    assert "CANARY" not in str(told.value)


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        *((url, "must name a database in lower-case") for url in (
            "postgresql://h", "postgresql://h/", "postgresql://h/V", "postgresql://h/a-b", "postgresql://h/v/w",
            "postgresql://h/" + "v" * 64, "snowflake://a",
        )),
        *((url, "must name a dataset in lower-case") for url in ("bigquery://p", "bigquery://p/v-w")),
        *((url, "must name a schema in lower-case") for url in (
            "postgresql://h/v?schema=A", "postgresql://h/v?schema=", "postgresql://h/v?schema=a'%3B--",
        )),
        *((url, "takes no option but schema: give others as libpq's own variables, PGSSLMODE") for url in (
            "postgresql://h/v?sslmode=off", "postgresql://h/v?password=CANARY", "postgresql://h/v#x",
        )),
        *((url, "takes no option but schema: give others in connections.toml") for url in (
            "snowflake://a/v?role=x", "snowflake://a/v?warehouse=w",
        )),
        ("bigquery://p/v?schema=x", "takes no option;"),
        *((url, "the port must be a number, every option have a value") for url in (
            "postgresql://h:x/v", "postgresql://h/v?schema",
        )),
        *((url, "must name the account first, and no port") for url in (
            "snowflake:///v", "snowflake://a:443/v", "snowflake://a'b/v",
        )),
        ("bigquery:///v", "must name the project first, and no port"),
    ],
)  # fmt: skip
def test_any_other_url_is_a_usage_error_that_names_the_fault(url: str, fault: str) -> None:
    with pytest.raises(UsageError) as told:
        read_address(url)
    assert fault in str(told.value) and "; it is written " + url.partition("://")[0] in str(told.value)
    assert "\n" not in str(told.value) and "CANARY" not in str(told.value)
