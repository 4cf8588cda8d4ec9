"""Where a data folder on object storage is: what its URL says, and what opens it. No URL holds a key or password: the
drivers have places of their own for those, and configs and records are read by many."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lib.errors import UsageError

WRITTEN = {
    "s3": "s3://bucket/prefix",
    "gs": "gs://bucket/prefix",
    "abfs": "abfs://container@account.dfs.core.windows.net/prefix",
}
"""The kinds of store, and how each is written."""
DRIVERS = {"s3": "s3fs", "gs": "gcsfs", "abfs": "adlfs"}
"""The fsspec driver of each kind, which the extra of the kind's name installs."""
CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile or a role",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS or gcloud auth application-default login",
    "abfs": "AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_ACCOUNT_KEY, or AZURE_TENANT_ID and its companions",
}
_BUCKET = {
    "s3": re.compile(r"[a-z0-9][a-z0-9.-]{1,62}"),
    "gs": re.compile(r"[a-z0-9][a-z0-9._-]{1,221}"),
    "abfs": re.compile(r"[a-z0-9][a-z0-9-]{1,62}(@[a-z0-9]{3,24}\.dfs\.core\.windows\.net)?"),
}
_PREFIX = re.compile(r"[A-Za-z0-9_=.-]+")


@dataclass(frozen=True)
class StoreAddress:
    """A place on object storage, below which everything of one data folder is. `prefix` may be empty."""

    scheme: str
    bucket: str
    prefix: str

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.bucket}" + (f"/{self.prefix}" if self.prefix else "")

    @property
    def root(self) -> str:
        """As fsspec's drivers write it."""
        return self.url.partition("://")[2]


def is_store_url(text: str) -> bool:
    """Whether the text means a place on object storage, rightly written or not."""
    return "://" in text


def read_store_address(url: str) -> StoreAddress:
    """A URL as WRITTEN; the prefix may be left out. Raises UsageError."""
    scheme, _, rest = url.partition("://")
    bucket, _, prefix = rest.rstrip("/").partition("/")
    known = scheme in WRITTEN and _BUCKET[scheme].fullmatch(bucket)
    if not known or not all(_is_name(each) for each in prefix.split("/") if prefix):
        written = ", ".join(WRITTEN.values())
        raise UsageError(
            f"data_dir: must be a folder, or on object storage, written {written}: no user, no password, and in the "
            "prefix letters, digits and - _ . = only."
        )
    return StoreAddress(scheme, bucket, prefix)


def _is_name(part: str) -> bool:
    return bool(_PREFIX.fullmatch(part)) and part.strip(".") != ""
