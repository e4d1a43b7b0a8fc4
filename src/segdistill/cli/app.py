"""The command line: its commands, the version, and the line that an error prints.

The commands import PyTorch inside their functions, so that help is fast.
"""

import sys
from typing import Annotated, NoReturn

import typer

from segdistill.cli import inspection, students, training
from segdistill.errors import Stopped, UserError
from segdistill.system import processes, threads
from segdistill.system.memory import lacks_memory, short_of_memory
from segdistill.system.working_folder import search_last
from segdistill.version import __version__

app = typer.Typer(
    help="Distill a large semantic-segmentation network into a small one.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for commands in (training, students, inspection):
    app.add_typer(commands.group)


def _version(requested: bool) -> None:
    if requested:
        typer.echo(f"segdistill {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Distill a large semantic-segmentation network into a small one."""
    from segdistill.cli.screen import listen

    listen()


def main() -> None:
    """Run the command line. The exit status is 0, 2 for an error of the user, or 130 after Ctrl-C."""
    threads.prepare()
    arguments = sys.argv[1:]
    search_last()  # so that student.model=my_module:build finds a module in the working folder
    debug = "--debug" in arguments
    try:
        app([argument for argument in arguments if argument != "--debug"], prog_name="segdistill", standalone_mode=True)
    except Stopped:
        print("stopped; run the same command to resume", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        processes.end_started()
        line = None if debug else _line_of(error)
        if line is None:
            raise
        _fail(line)


def _line_of(error: Exception) -> str | None:
    """Return the line that tells a user of an error; None if it is a bug, which needs its traceback."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.strerror or error}: {error.filename or ''}".rstrip(": ")
    if lacks_memory(error):
        remedy = "close other programs that use the GPU (nvidia-smi), or lower train.batch_size or data.scale"
        return str(short_of_memory("the command", error, remedy))
    return None


def _fail(text: str) -> NoReturn:
    from segdistill.system.terminal import printable

    print(f"error: {printable(text)}", file=sys.stderr)
    sys.exit(2)
