"""How commands fail: with one line, and an exit code that says where to look."""

import sys
from typing import Any

import typer
from pydantic import ValidationError
from typer.core import TyperGroup

from crossmodal_peft.training.signals import EXIT_CODE as INTERRUPTED
from crossmodal_peft.training.signals import Interrupted

USAGE = 2  # The command line is wrong; click's own code.
DATA = 3  # Settings or files are missing, damaged, of the wrong kind, or cannot be downloaded.
TRAINING = 4  # The loss is not a number, memory ran out, or a computation in training failed.

EXIT_CODES = (
    f"Exit codes: 0 done; {USAGE} wrong command line; {DATA} settings, data or files; {TRAINING} training; "
    f"{INTERRUPTED} a training was interrupted and its state was saved: run it again. "
    "A failure is one line; `crossmodal-peft --debug COMMAND …` shows where it happened."
)


class OneLineErrors(TyperGroup):
    """Commands that fail with one line on standard error, and with a traceback only after `--debug`."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; on failure, exit with its code."""
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort):
            raise
        except Interrupted as reason:
            print(f"crossmodal-peft: {reason}", file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None
        except (ValueError, LookupError, OSError, ArithmeticError, RuntimeError, MemoryError) as error:
            if ctx.params["debug"]:
                raise
            print(f"crossmodal-peft: {in_one_line(error)}", file=sys.stderr)
            raise typer.Exit(code_of(error, ctx.invoked_subcommand)) from None


def code_of(error: Exception, command: str | None) -> int:
    """The exit code for a command's error."""
    failed_computation = isinstance(error, ArithmeticError | MemoryError) or (
        command == "train" and isinstance(error, RuntimeError)
    )
    return TRAINING if failed_computation else DATA


def in_one_line(error: Exception) -> str:
    """An error's message."""
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'JSON'}: {e['msg']}" for e in error.errors())
    return str(error).strip() or f"{type(error).__name__} without a message; see --debug"
