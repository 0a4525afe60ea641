"""Run a command that begins no run: it reads options and returns an exit status."""

import importlib
import json
import shlex
import sys
import webbrowser
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, TypeVar

from jaxnet import progress
from jaxnet.cli.commands import lines_of
from jaxnet.cli.options import PLACE_OPTIONS, current_words, shared_options
from jaxnet.cli.parsing import parse
from jaxnet.diagnostics.findings import Code
from jaxnet.engine.agreement import check_agreement
from jaxnet.errors import InputError, check_known
from jaxnet.report import console
from jaxnet.runtime import processes
from jaxnet.runtime.devices import enable_cache, use_cpu_devices
from jaxnet.runtime.files import plain

Given = TypeVar("Given")
CLAIMED = 4  # exit status where a finding of --fail-on is claimed


def run_command(
    name: str,
    options: type[Given],
    description: str | None,
    work: Callable[[Given], Mapping[str, Any] | None],
    arguments: Sequence[str] | None = None,
    program: str | None = None,
) -> int:
    """Read options and do the work of a script.

    Args:
        name: name of the script.
        options: a dataclass of the options.
        description: description of the script, for --help.
        work: what is done with the options; it returns the content of result.json, if it writes
            one.
        arguments: words of the command line; by default those of this process.
        program: what the user typed to start it, for messages; by default
            "python -m experiments.NAME".

    Returns:
        The exit status: 2 for bad input, 4 if a finding of --fail-on is claimed.
    """
    console.escape_unencodable()
    words = current_words(sys.argv[1:] if arguments is None else arguments, console.warning)
    program = program or f"python -m experiments.{name}"
    with progress.command(lines_of(words)), result_alone("--json" in words) as show:
        given = parse(options, words, program=program, description=description)
        try:
            codes = getattr(given, "fail_on", ())
            check_codes(codes)
            result = work(given)
            show(result)
            return status_of(result or {}, codes)
        except InputError as error:
            console.error(str(error))
            return 2


def command_again(program: str, words: Sequence[str]) -> str:
    """The command line that computes the same again, in a folder of its own.

    Args:
        program: what the user typed to start it.
        words: the words that follow it on the command line.

    Returns:
        The line, without the options that say where a run happens.
    """
    flags = {f"--{name.replace('_', '-')}" for name in PLACE_OPTIONS if name != "data_dir"}
    kept, dropped = list[str](), False
    for word in words:
        if word.startswith("--"):
            name = word.split("=")[0].replace("_", "-").replace("--no-", "--")
            dropped = name in flags
        if not dropped:
            kept.append(word)
    return shlex.join([*program.split(), *kept])


@contextmanager
def result_alone(wanted: bool) -> Iterator[Callable[[Mapping[str, Any] | None], None]]:
    """A context in which standard output is kept for a result as JSON, and everything else goes to
    standard error.

    Args:
        wanted: whether that is wanted; if not, nothing changes.

    Yields:
        A function that prints the content of a result.json, if that is wanted.
    """
    if not wanted:
        yield lambda result: None
        return
    output = sys.stdout
    with redirect_stdout(sys.stderr):
        yield lambda result: print(
            json.dumps(plain(result), indent=1, allow_nan=False), file=output, flush=True
        )


def claimed(result: Mapping[str, Any], codes: Sequence[str]) -> list[str]:
    """Which of some findings a result claims.

    Args:
        result: the content of a result.json.
        codes: codes of findings.

    Returns:
        Those that are claimed.

    Raises:
        InputError: for a code that is unknown.
    """
    check_codes(codes)
    found = {Code(each["code"]) for each in plain(result.get("findings", ())) if each["claimed"]}
    return [code for code in codes if Code(code) in found]


def status_of(result: Mapping[str, Any], codes: Sequence[str]) -> int:
    """The exit status of a command that finished: 4 if a result claims one of some findings, which
    is printed, else 0.

    Args:
        result: the content of a result.json.
        codes: codes of findings.
    """
    wrong = claimed(result, codes)
    for code in wrong:
        console.say(f"exit status {CLAIMED}, since {code} is claimed")
    return CLAIMED if wrong else 0


def check_codes(codes: Sequence[str]) -> None:
    """Refuse codes of findings that are unknown, with InputError."""
    for code in codes:
        try:
            Code(code)
        except ValueError:
            check_known("finding", code, [each.value for each in Code])


def open_page(folder: Path) -> None:
    """Open the page of a run in the browser."""
    webbrowser.open((folder / "report.html").resolve().as_uri())


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
