"""What an error of the operating system means to a user, and the next step."""

import errno

NEXT_STEPS = {
    errno.EMFILE: "this process has too many open files: raise the limit (ulimit -n), or close connections",
    errno.ENFILE: "the system has too many open files: close some, or raise its limit",
    errno.EACCES: "check the permissions of the file and its folders",
    errno.EPERM: "check the permissions of the file and its folders",
    errno.EROFS: "the file system is read-only: EMBEDCONSOLE_CACHE names another folder",
    errno.ENOSPC: "free some space, or set EMBEDCONSOLE_CACHE to a folder on another disk",
    errno.EDQUOT: "free some space, or set EMBEDCONSOLE_CACHE to a folder on another disk",
    errno.ENOENT: "give the folder of a complete model, or a hub id",
    errno.ENOTDIR: "give a folder",
    errno.EISDIR: "a file is expected, and this is a folder",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.ELOOP: "symbolic links lead in a circle",
    errno.EIO: "the disk reports a fault: copy the file elsewhere",
    errno.ENOMEM: "free some memory",
    errno.EAGAIN: "the system is out of processes or memory: end some, or raise the limit (ulimit -u)",
}
_MAX_NAME_CHARS = 200


def describe(error: OSError) -> str:
    """Returns the file (if known, shortened), what the system says, and the next step."""
    name = "" if error.filename is None else shortened(str(error.filename))
    reason = error.strerror or type(error).__name__
    step = NEXT_STEPS.get(error.errno or 0)
    return f"{name + ': ' if name else ''}{reason}{' (' + step + ')' if step else ''}"


def shortened(text: str) -> str:
    """Returns the text with at most 200 characters."""
    return text if len(text) <= _MAX_NAME_CHARS else f"{text[: _MAX_NAME_CHARS - 1]}…"
