"""The reference of the commands, from the command line itself."""

import re
import shlex
from typing import Any

import typer

from segdistill.cli.app import app


def commands() -> str:
    """Return a section of Markdown for each command."""
    known = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    return "\n".join(_section(name, command) for name, command in known.items())


def _section(name: str, command: Any) -> str:
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option" and not each.hidden]
    words = ["segdistill", name, *map(_in_usage, arguments), *(["[OPTIONS]"] if options else [])]
    # Paragraphs of the epilog: a heading, then one command each.
    _, *examples = command.epilog.split("\n\n")
    lines = [f"## {name}", "", options_as_code(command.help), "", "```text", " ".join(words), "```", ""]
    if arguments or options:
        lines += ["| argument or option | meaning |", "|---|---|"]
        lines += [f"| `{_metavar(each)}` | {_cell(each)} |" for each in arguments]
        lines += [f"| {', '.join(f'`{option}`' for option in each.opts)} | {_cell(each)} |" for each in options]
        lines += [""]
    return "\n".join([*lines, "```bash", *(shlex.join(shlex.split(each)) for each in examples), "```", ""])


def _metavar(argument: Any) -> str:
    return (argument.metavar or argument.name.upper()).strip("[]")


def _in_usage(argument: Any) -> str:
    return _metavar(argument) if argument.required else f"[{_metavar(argument)}]"


def _cell(parameter: Any) -> str:
    default = parameter.default
    shown = "" if default in (None, False, ()) or callable(default) else f" Default: `{default}`."
    return options_as_code(f"{parameter.help or ''}{shown}").replace("|", "\\|")


def options_as_code(text: str) -> str:
    """Mark the options that a text names, such as --jobs: outside code, two hyphens are a dash."""
    return re.sub(r"(?<![`\w-])--[a-z][a-z-]*(?![^`]*`(?:[^`]*`[^`]*`)*[^`]*$)", r"`\g<0>`", text)
