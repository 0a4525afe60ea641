"""Options from the words of a command line, and what --help shows of them."""

import ast
import dataclasses
import inspect
import types
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import groupby
from pathlib import Path
from textwrap import wrap
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from jaxnet.display import ACROSS

Given = TypeVar("Given")

HELP = ("-h", "--help")
INDENT = 26  # column where the explanation of an option begins
# Titles, and the options below each; those of one command alone come first.
OWN = "options of this command"
GROUPS = {
    "data": "dataset data_dir validation test task label groups order split_seed",
    "tables and images": (
        "drop_columns drop_labels encoding separator decimal header types dates sheet missing fill "
        "image_size"
    ),
    "model": "model hidden channels kernel stride padding activation normalization",
    "training": (
        "optimizer schedule epochs batch_size learning_rate momentum b2 weight_decay l1 dropout "
        "label_smoothing clip patience balance precision seed"
    ),
    "augmentation": "shift rotate scale elastic noise cutout mixup",
    "diagnosis": "members seconds tolerance target_error signals",
    "the run and its folder": (
        "out resume open json fail_on platform cache tensorboard stream corrupt coordinator "
        "processes process_id"
    ),
}


def parse(
    options: type[Given],
    words: Sequence[str],
    *,
    program: str,
    description: str | None = None,
    default: Given | None = None,
) -> Given:
    """Read the options of a command.

    Args:
        options: a dataclass of the options, each with a docstring.
        words: words of the command line.
        program: what the user typed to start the command.
        description: description of the command, for --help.
        default: values of the options that are not given; by default those of the class.

    Returns:
        The options.

    Raises:
        SystemExit: with status 0 once --help is shown, with 2 for words that are no options.
    """
    if any(word in HELP for word in words):
        print(help_text(options, program, description or options.__doc__ or "", default))
        raise SystemExit(0)
    import tyro  # not needed for --help

    if default is None:
        return tyro.cli(options, args=words, prog=program, description=description)
    return tyro.cli(options, args=words, prog=program, description=description, default=default)


def help_text(options: type, program: str, description: str, default: object = None) -> str:
    """What --help shows: the description with its lines as they are, and the options in groups.

    Args:
        options: a dataclass of the options.
        program: what the user typed to start the command.
        description: description of the command.
        default: values of the options; by default those of the class.

    Returns:
        Lines of at most 80 columns, but for indented lines of the description, which stay as they
        are.
    """
    named = {field.name: field for field in dataclasses.fields(options)}
    explained = _explanations(options)
    known = {name for names in GROUPS.values() for name in names.split()}
    groups = {OWN: " ".join(name for name in named if name not in known), **GROUPS}
    places = "".join(f" {_head(field)}" for field in named.values() if _is_positional(field))
    lines = [f"usage: {program}{places} [OPTIONS]", "", *_paragraphs(inspect.cleandoc(description))]
    for title, names in groups.items():
        shown = [named[name] for name in names.split() if name in named]
        lines += ["", f"{title}:"] if shown else []
        for field in shown:
            lines += _option(field, explained.get(field.name, ""), default)
    return "\n".join([*lines, "", "  -h, --help              show this text and stop"])


def _paragraphs(text: str) -> Iterator[str]:
    """The lines of a description: indented ones as they are, and paragraphs that fit the width."""
    for indented, lines in groupby(text.splitlines(), lambda line: not line or line[0] == " "):
        if indented:
            yield from lines
        else:
            yield from wrap(" ".join(lines), ACROSS, break_on_hyphens=False)


def _is_positional(field: "dataclasses.Field[Any]") -> bool:
    return any(repr(each) == "Positional" for each in getattr(field.type, "__metadata__", ()))


def _head(field: "dataclasses.Field[Any]") -> str:
    """An option as it is written on the command line."""
    name = field.name.replace("_", "-")
    if _is_positional(field):
        several = get_origin(get_args(field.type)[0]) is tuple
        return name.upper() + " ..." * several
    flag = bool in (field.type, *get_args(field.type))
    return f"--{name}, --no-{name}" if flag else f"--{name} {_value(field.type)}"


def _option(field: "dataclasses.Field[Any]", words: str, default: object) -> Iterator[str]:
    """The lines of one option."""
    value = field.default if default is None else getattr(default, field.name)
    head = f"  {_head(field)}"
    if value is dataclasses.MISSING:
        words += " (required)"
    elif value not in (None, (), ""):
        words += f" (default: {_shown(value)})"
    told = wrap(words, ACROSS - INDENT, break_on_hyphens=False)
    if len(head) + 2 > INDENT:
        yield head.rstrip()
        head = ""
    yield (f"{head:<{INDENT}}{told[0]}" if told else head).rstrip()
    yield from (f"{'':<{INDENT}}{line}" for line in told[1:])


def _value(kind: Any) -> str:
    """What is written after an option, such as NUMBER or {mlp,cnn}."""
    origin = get_origin(kind)
    if origin is Literal:
        return f"{{{','.join(map(str, get_args(kind)))}}}"
    if origin in (Union, types.UnionType):
        kinds = [each for each in get_args(kind) if each is not type(None)]
        return _value(kinds[0])
    if origin is tuple:
        kinds = get_args(kind)
        each = _value(kinds[0])
        return f"{each} ..." if kinds[-1] is Ellipsis else " ".join(map(_value, kinds))
    return {int: "NUMBER", float: "NUMBER", Path: "PATH"}.get(kind, "TEXT")


def _shown(value: object) -> str:
    """A default as it is written on the command line."""
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


@cache
def _explanations(options: type) -> dict[str, str]:
    """The docstring of each field of a dataclass and of those that it extends, by name."""
    found: dict[str, str] = {}
    for each in reversed(options.__mro__[:-1]):
        (body,) = ast.parse(inspect.cleandoc(inspect.getsource(each))).body
        assert isinstance(body, ast.ClassDef)
        for field, words in zip(body.body, body.body[1:], strict=False):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(words, ast.Expr)
                and isinstance(words.value, ast.Constant)
            ):
                found[field.target.id] = " ".join(str(words.value.value).split())
    return found
