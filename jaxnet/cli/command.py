"""Run a command that begins no run: it reads options and returns an exit status."""

import importlib
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from jaxnet.cli.options import current_words, shared_options
from jaxnet.cli.parsing import parse
from jaxnet.engine.agreement import check_agreement
from jaxnet.errors import InputError
from jaxnet.report import console
from jaxnet.runtime import processes
from jaxnet.runtime.devices import enable_cache, use_cpu_devices

Given = TypeVar("Given")


def run_command(
    name: str,
    options: type[Given],
    description: str | None,
    work: Callable[[Given], None],
    arguments: Sequence[str] | None = None,
    program: str | None = None,
) -> int:
    """Read options and do the work of a script.

    Args:
        name: name of the script.
        options: a dataclass of the options.
        description: description of the script, for --help.
        work: what is done with the options.
        arguments: words of the command line; by default those of this process.
        program: what the user typed to start it, for messages; by default
            "python -m experiments.NAME".

    Returns:
        The exit status; 2 for bad input.
    """
    console.escape_unencodable()
    words = current_words(sys.argv[1:] if arguments is None else arguments, console.warning)
    program = program or f"python -m experiments.{name}"
    given = parse(options, words, program=program, description=description)
    try:
        work(given)
    except InputError as error:
        console.error(str(error))
        return 2
    return 0


def keep_programs() -> None:
    """Keep compiled programs in the user's cache folder, or print why that is impossible."""
    try:
        enable_cache()
    except InputError as error:
        console.say(f"compiled programs are not kept: {error}")


def wanted(package: str) -> Any:
    """Import a package that an example needs.

    Args:
        package: name of the package.

    Returns:
        The module.

    Raises:
        InputError: where it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError:
        raise InputError(
            f"this example needs the package {package}: pip install {package}"
        ) from None


def together(name: str, work: Callable[[Given], None]) -> Callable[[Given], None]:
    """Let several processes do the same work if the options name a coordinator; all must get the
    same options.

    Args:
        name: name of the script.
        work: what is done with the options.

    Returns:
        A function of the options.
    """

    def joined(options: Given) -> None:
        given: Any = options
        with processes.joined(given.coordinator, given.processes, given.process_id):
            check_agreement(lambda: {"experiment": name, **shared_options(options)})
            use_cpu_devices()
            processes.barrier("begin")
            work(options)

    return joined
