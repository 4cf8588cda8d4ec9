"""The objects below one address: listed, read, written, created where there is none yet. Each is whole or absent.

Everything goes through fsspec's drivers. What passes (no answer, too many requests) is tried again, later each time;
what stays away is a TemporaryFailure. Whose turn it is to write what is the working copy's affair.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from lib.errors import StoredDataChanged, TemporaryFailure, UsageError
from lib.extras import lacking
from lib.files import sha256_of_file
from lib.store.address import CREDENTIALS, DRIVERS, StoreAddress

PAUSES = (0.25, 1.0, 3.0)
"""Seconds before each further try, give or take a third: many clients must not come back all at once."""
CONNECT_SECONDS, READ_SECONDS = 5, 60

Tags = dict[str, tuple[str, int]]
"""Of objects by key: what changes with an object's bytes (its ETag), and its size in bytes."""
Answer = TypeVar("Answer")
_REFUSED = {
    "NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "ProfileNotFound",
    "TokenRetrievalError",
    "DefaultCredentialsError", "RefreshError", "ClientAuthenticationError",
}  # fmt: skip
"""The drivers' exceptions that say who asks is not known, by class name: no driver needs to be there for this."""
_OF_DRIVERS = {"aiobotocore", "aiohttp", "azure", "botocore", "gcsfs", "google", "requests", "urllib3"}
"""The packages whose exceptions, where they are no OSError, tell of a store that gives no good answer."""


class AlreadyThere(Exception):
    """There is an object of this key, so none was created."""


class Objects:
    """The objects below `address`; keys are relative to it."""

    def __init__(self, address: StoreAddress) -> None:
        self.address = address
        self._opened: dict[int, Any] = {}

    def tags(self, folder: str = "") -> Tags:
        """Every object's tag below a folder, of all where none is named."""
        root = "/".join(filter(None, (self.address.root, folder)))

        def find() -> dict[str, Any]:
            found: dict[str, Any] = self._files.find(root, detail=True)
            return found

        nothing: dict[str, Any] = {}
        found = self._tried(find, absent=nothing)
        return {self._key(path): _tag(info) for path, info in found.items() if info.get("type") != "directory"}

    def tag(self, key: str) -> tuple[str, int] | None:
        """One object's tag; None where there is none."""
        info: dict[str, Any] | None = self._tried(lambda: self._files.info(self._path(key)), absent=None)
        return _tag(info) if info else None

    def read(self, key: str) -> bytes | None:
        """An object's bytes; None where there is none."""
        content: bytes | None = self._tried(lambda: self._files.cat_file(self._path(key)), absent=None)
        return content

    def fetch(self, key: str, target: Path) -> bool:
        """Write an object's bytes to a file; False where there is none. A fetch that fails leaves half a file."""

        def get() -> bool:
            self._files.get_file(self._path(key), str(target))
            return True

        return self._tried(get, absent=False)

    def put(self, key: str, path: Path) -> None:
        """Write a file's bytes, in place of what there is."""
        self._tried(lambda: self._files.put_file(str(path), self._path(key)))

    def write(self, key: str, content: bytes) -> None:
        """Write bytes, in place of what there is."""
        self._tried(lambda: self._files.pipe_file(self._path(key), content))

    def create(self, key: str, content: bytes) -> None:
        """Write bytes if there is no such object (If-None-Match). Raises AlreadyThere."""
        create = self._creating(lambda: self._files.pipe_file(self._path(key), content, mode="create"))
        if not create and self.read(key) != content:
            raise AlreadyThere(key)

    def create_from(self, key: str, path: Path) -> None:
        """Write a file's bytes if there is no such object; bytes that are there already are as good. Raises
        StoredDataChanged when others are there."""
        if self._creating(lambda: self._files.put_file(str(path), self._path(key), mode="create")):
            return
        if self.sha256(key) != sha256_of_file(path):
            raise StoredDataChanged(
                f"{self.address.url}/{key}: other bytes have this name in the store already; nothing was written over; "
                "look at who else writes there."
            )

    def remove(self, key: str) -> None:
        """Remove an object; where there is none, nothing happens."""
        self._tried(lambda: self._files.rm_file(self._path(key)), absent=None)

    def sha256(self, key: str) -> str:
        """SHA-256 of an object's bytes as they are in the store now, read piece by piece."""

        def read() -> str:
            with self._files.open(self._path(key), "rb") as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest()

        return self._tried(read)

    @property
    def _files(self) -> Any:
        """The driver's file system, made when it is first used: a process that writes nothing needs no driver, and a
        fork needs one of its own."""
        if os.getpid() not in self._opened:
            self._opened = {os.getpid(): _opened(self.address)}
        return self._opened[os.getpid()]

    def _path(self, key: str) -> str:
        return f"{self.address.root}/{key}"

    def _key(self, path: str) -> str:
        container = self.address.root.partition("@")[0]  # abfs lists without the account
        root = f"{container}/{self.address.prefix}" if "@" in self.address.root else self.address.root
        return path.removeprefix(root.rstrip("/")).lstrip("/")

    def _creating(self, create: Callable[[], Any]) -> bool:
        """Whether the object is new. A try whose answer was lost may have made it: then the next finds it there."""

        def made() -> bool:
            try:
                create()
            except FileExistsError:
                return False
            return True

        return self._tried(made)

    def _tried(self, what: Callable[[], Answer], **absent: Answer) -> Answer:
        """What the store answers, or `absent` where it has no such object. Raises TemporaryFailure, UsageError."""
        for pause in (*PAUSES, None):
            try:
                return what()
            except FileNotFoundError:
                if "absent" in absent:
                    return absent["absent"]
                raise self._failure("has no such bucket or object", UsageError) from None
            except Exception as error:
                if isinstance(error, PermissionError) or _status(error) in (401, 403):
                    raise self._failure(self._who("refuses access"), UsageError) from None
                if type(error).__name__ in _REFUSED:
                    raise self._failure(self._who("cannot tell who asks"), UsageError) from None
                if not isinstance(error, OSError) and type(error).__module__.partition(".")[0] not in _OF_DRIVERS:
                    raise
                if pause is None:
                    told = f"does not answer ({type(error).__name__}); nothing was loaded; run again"
                    raise self._failure(told, TemporaryFailure) from error
                time.sleep(pause * random.uniform(2 / 3, 4 / 3))
        raise AssertionError("the last try has returned or raised")

    def _who(self, what: str) -> str:
        return f"{what}; give credentials to its driver ({CREDENTIALS[self.address.scheme]})"

    def _failure(self, what: str, kind: type[Exception]) -> Exception:
        return kind(f"{self.address.url}: the store {what}.")


def _opened(address: StoreAddress) -> Any:
    """The driver's file system, without caches of what is listed. Raises UsageError where it is not installed."""
    driver = DRIVERS[address.scheme]
    try:
        importlib.import_module(driver)
        import fsspec
    except ImportError:
        raise lacking(f"{address.url}: the store's driver", address.scheme) from None
    options: dict[str, Any] = {"use_listings_cache": False, "skip_instance_cache": True}
    if address.scheme == "s3":
        options["config_kwargs"] = {
            "connect_timeout": CONNECT_SECONDS,
            "read_timeout": READ_SECONDS,
            "retries": {"total_max_attempts": 1},
        }
    if address.scheme == "abfs" and "@" in address.bucket:
        options["account_name"] = address.bucket.partition("@")[2].partition(".")[0]
    files = fsspec.filesystem(address.scheme, **options)
    files.retries = 1  # tries are counted here
    return files


def _status(error: Exception) -> Any:
    """The status of the store's answer, by the name that Azure's and Google's drivers have for it."""
    return getattr(error, "status_code", None) or getattr(error, "code", None)


def _tag(info: dict[str, Any]) -> tuple[str, int]:
    """S3's and Azure's ETag, Google's too, by the name that each driver has for it."""
    tag = next((info[name] for name in ("ETag", "etag", "generation") if info.get(name)), None)
    return str(tag).strip('"'), int(info.get("size") or 0)
