"""The manifest: what one run was asked, what it saw, what it did. Counts, hashes and names; never a row.

Its last key, `sha256`, is the SHA-256 of its text without that key, so that an edit of the newest manifest, to which
none is chained yet, is found as well (lib/standalone.py). Those of version 1 have none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lib.errors import StoredDataChanged, UsageError
from lib.files import json_text, read_json, write_json
from lib.standalone import MANIFEST, digest
from lib.store.opened import publish_record

MANIFEST_VERSION = 2
READABLE_VERSIONS = (1, 2)
FILE_NAME = MANIFEST
SEAL = "sha256"


class Manifest:
    """A run's manifest as a mapping of sections; every `record` is written whole at once (temporary name, rename);
    on object storage after everything else that the run has changed."""

    def __init__(self, path: Path, content: dict[str, Any]) -> None:
        self._path = path
        self._content = content

    @classmethod
    def create(cls, record: Path, content: dict[str, Any]) -> Manifest:
        """Write the manifest of a run that begins."""
        manifest = cls(record / FILE_NAME, {"manifest_version": MANIFEST_VERSION, **content})
        manifest._write()
        return manifest

    @classmethod
    def read(cls, record: Path) -> Manifest:
        """The manifest of a run. Raises UsageError when there is none, StoredDataChanged when it is damaged."""
        path = record / FILE_NAME
        try:
            content = read_json(path)
        except FileNotFoundError:
            raise UsageError(f"{record.name}: there is no such run; see python run_pipeline.py history.") from None
        except ValueError:
            raise StoredDataChanged(f"{record.name}/manifest.json: is not JSON any more; restore it.") from None
        if content.get("manifest_version") not in READABLE_VERSIONS:
            raise StoredDataChanged(
                f"{record.name}/manifest.json: is of another version; use the release that wrote it."
            )
        return cls(path, {name: value for name, value in content.items() if name != SEAL})

    def __getitem__(self, section: str) -> Any:
        return self._content[section]

    def get(self, section: str, default: Any = None) -> Any:
        return self._content.get(section, default)

    @property
    def content(self) -> dict[str, Any]:
        """The whole manifest as a mapping."""
        return dict(self._content)

    def record(self, **sections: Any) -> None:
        """Add or replace sections and write the manifest."""
        self._content.update(sections)
        self._write()

    def _write(self) -> None:
        self._content["manifest_version"] = MANIFEST_VERSION
        write_json(self._path, {**self._content, SEAL: digest(json_text(self._content))})
        publish_record(self._path.parent)
