"""The lock of a run folder: one running process per folder.

The system releases the lock with the process, however that ends.
"""

import os
import sys
from typing import TextIO

from workers.records.run_folder import RunFolder, RunFolderError


def hold(folder: RunFolder) -> TextIO:
    """Lock the folder until the returned file is closed. RunFolderError if a live run holds it."""
    file = open(folder.lock, "w")  # noqa: SIM115 - an open file is the lock
    if sys.platform != "win32":
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.close()
            raise RunFolderError(
                f"The run in {str(folder.path)!r} is still going; stop it before you go on with it."
            ) from error
        except OSError:
            return file  # a file system without locks
    return file


def is_held(folder: RunFolder, lock: TextIO) -> bool:
    """Return whether the folder still has this lock: it may have been deleted and made anew."""
    try:
        return os.path.samestat(os.fstat(lock.fileno()), os.stat(folder.lock))
    except OSError:
        return False
