"""Between a verb and the shell: flags parsed from its signature, errors turned into messages and exit codes."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from collections.abc import Callable

import tyro

from assay.errors import AssayError, ran_out_of_memory

LOWER = "Lower batches.size, the widths, or harvest.batch_contexts with --set."
"""What helps where nothing better is known."""


def run_guarded(verb: Callable[..., int], arguments: list[str], prog: str, description: str) -> int:
    """Parse the arguments, run the verb, and return its exit code. SIGTERM ends a verb as Ctrl-C does, unless it knows better."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return tyro.cli(verb, args=arguments, prog=prog, description=f"{description[0].upper()}{description[1:]}.")
    except SystemExit as stop:  # tyro has printed help (0) or a usage error (2)
        return stop.code if isinstance(stop.code, int) else 2
    except AssayError as error:
        return _say(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _say("interrupted; expected to be continued. Run the same command again.", 75)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (MemoryError, RuntimeError) as error:
        if ran_out_of_memory(error):
            return _say(_memory(error), 6)
        raise
    except OSError as error:
        if ran_out_of_memory(error):
            return _say(_memory(error), 6)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return _say(f"the disk is full ({error.filename}); expected room to write. Free some and run it again.", 5)
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return _say(f"{error.filename} cannot be written or read; expected access. Check its permissions.", 1)
        if error.errno == errno.EIO:
            return _say(
                "the disk reports an error; expected a sound disk. Check it, then run the same command again.", 1
            )
        if error.filename is not None:  # a name too long, a folder in place of a file: the place is at fault
            return _say(f"{error.filename} cannot be used ({error.strerror}); expected another path. Name one.", 1)
        raise


def _memory(error: BaseException) -> str:
    what = str(error).partition("\n")[0]
    return f"memory ran out{what and f' ({what})'}; expected enough of it. {LOWER}"


def _say(message: str, code: int) -> int:
    print(f"error: {_printable(message)}", file=sys.stderr)
    return code


def _printable(message: str) -> str:
    """The message with control characters spelt out: a name from a file must not move the cursor of a terminal."""
    return "".join(letter if letter.isprintable() or letter == "\n" else repr(letter)[1:-1] for letter in message)
