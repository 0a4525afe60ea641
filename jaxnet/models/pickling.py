"""The parts of models in a form that pickle can hold.

Pickle stores a function by its name, and so fails on initializers that Flax makes inside of
functions, and on what JAX wraps, such as jax.nn.relu. Here a module is stored as its class with the
fields that differ from their defaults, and a wrapped function by the name under which it is found.
"""

import functools
import pickle
import sys
import types
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

from jaxnet.errors import InputError

BY_NAME = (type, types.FunctionType, types.BuiltinFunctionType)  # which picklers know themselves
BY_VALUE = ("copy", "cloudpickle", "dill")  # modules that need no name of a function


class Call(NamedTuple):
    """A call that makes a value again."""

    function: Any
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]


def packed(value: Any) -> Any:
    """The value with a Call in place of each module, partial and wrapped function in it."""
    if type(value) in (list, tuple):
        return type(value)(map(packed, value))
    if type(value) is dict:
        return {key: packed(item) for key, item in value.items()}
    if isinstance(value, functools.partial):
        return Call(
            functools.partial, tuple(map(packed, (value.func, *value.args))), packed(value.keywords)
        )
    if is_dataclass(value) and _is_linen(value):
        call = Call(
            type(value), (), {name: packed(field) for name, field in _changed(value).items()}
        )
        return call if _makes(call, value) else value
    if callable(value) and not isinstance(value, BY_NAME) and (found := _place(value)) is not None:
        return Call(_named, found, {})
    return value


def unpacked(value: Any) -> Any:
    """What `packed` was given."""
    if isinstance(value, Call):
        return unpacked(value.function)(*map(unpacked, value.arguments), **unpacked(value.keywords))
    if type(value) in (list, tuple):
        return type(value)(map(unpacked, value))
    return {key: unpacked(item) for key, item in value.items()} if type(value) is dict else value


def check_pickle(what: str, value: Any, cure: str) -> None:
    """Raises InputError where pickle, which is at work, cannot hold the value; cloudpickle and
    dill, which can, are let be.
    """
    frame = sys._getframe(1)
    while frame is not None:
        if set(BY_VALUE) & set(frame.f_globals.get("__name__", "").split(".")):
            return
        frame = frame.f_back
    try:
        pickle.dumps(value)
    except InputError:
        raise
    except Exception as error:  # pickle raises whatever the parts of a value do
        raise InputError(f"{what} cannot be pickled ({error}); {cure}") from None


def _is_linen(value: Any) -> bool:
    linen = sys.modules.get("flax.linen")
    return linen is not None and isinstance(value, linen.Module)


def _changed(module: Any) -> dict[str, Any]:
    """The fields of a Linen module that are not as they are by default, but for its parent."""
    own = {
        each.name: (getattr(module, each.name), each.default)
        for each in fields(module)
        if each.init and each.name != "parent"
    }
    return {name: value for name, (value, default) in own.items() if value is not default}


def _makes(call: Call, value: Any) -> bool:
    try:
        return bool(unpacked(call) == value)
    except Exception:  # a class of one's own may refuse its fields, or compare as it likes
        return False


def _place(value: Any) -> tuple[str, str] | None:
    """(module, name) of what is found under its own name in a module that can be imported."""
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if (
        not isinstance(module, str)
        or not isinstance(name, str)
        or module in ("__main__", "builtins")
    ):
        return None
    try:
        return (module, name) if _named(module, name) is value else None
    except (ImportError, AttributeError, KeyError):
        return None


def _named(module: str, name: str) -> Any:
    import importlib

    return functools.reduce(getattr, name.split("."), importlib.import_module(module))
