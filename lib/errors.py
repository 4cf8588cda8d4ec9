"""What can go wrong, and the exit code each kind ends with.

A message is one line: what, where, what to do next. It never holds a value of a patient's record, because it is
printed, kept in the run record and mailed by cron.
"""

from __future__ import annotations

import errno
import os


class PipelineError(Exception):
    """A failure whose message is safe to show. Subclasses fix the exit code."""

    exit_code = 1


class UsageError(PipelineError):
    """A bad option, parameter or config; nothing was started."""

    exit_code = 2


class DeliveryRefused(PipelineError):
    """A whole delivery cannot be read as what it says it is; nothing is loaded, the state is unchanged."""

    exit_code = 3


class GateFailed(PipelineError):
    """A critical rule failed; the delivery is held, no table has changed."""

    exit_code = 4


class WarehouseLocked(PipelineError):
    """Another run holds this warehouse."""

    exit_code = 5


class StoredDataChanged(PipelineError):
    """Something stored is not what it was: an altered snapshot or record, a missing or foreign warehouse."""

    exit_code = 6


class TemporaryFailure(PipelineError):
    """A condition that passes: disk full, warehouse busy, store away."""

    exit_code = 7


class ReportIncomplete(PipelineError):
    """The tables are loaded, the report is not complete; the next run repairs it."""

    exit_code = 8


class LoadTooOld(PipelineError):
    """`status --max-age`: the last load is older than allowed."""

    exit_code = 9


BY_NAME: dict[str, type[PipelineError]] = {
    kind.__name__: kind
    for kind in (
        PipelineError,
        UsageError,
        DeliveryRefused,
        GateFailed,
        WarehouseLocked,
        StoredDataChanged,
        TemporaryFailure,
        ReportIncomplete,
        LoadTooOld,
    )
}
"""The kinds by class name: how the outer process reads a kernel's failure."""

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_PASSES = NO_ROOM | {errno.EIO, errno.EROFS, errno.ESTALE, errno.ENOMEM, errno.EMFILE, errno.ENFILE}


def as_ours(error: BaseException) -> BaseException:
    """A TemporaryFailure in place of the system's word that the disk is full, failing or away; else the error itself.

    The text of an OSError names a path; only what happened is told."""
    if not isinstance(error, OSError) or error.errno not in _PASSES:
        return error
    remedy = "free some room" if error.errno in NO_ROOM else "look at the disk"
    return TemporaryFailure(
        f"a file could not be written or read ({os.strerror(error.errno)}); {remedy} and run again."
    )
