"""The parts of models in a form that pickle can store.

Pickle stores a function by its name. So it fails for initializers that Flax creates inside
functions, and for functions that JAX wraps, such as jax.nn.relu. Here a module is stored as its
class with the fields that differ from their defaults, and a wrapped function by the name under
which it can be imported.
"""

import functools
import pickle
import sys
import types
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

from jaxnet.errors import InputError

BY_NAME = (type, types.FunctionType, types.BuiltinFunctionType)  # kinds that pickle stores itself
BY_VALUE = ("copy", "cloudpickle", "dill")  # picklers that need no name of a function


class Call(NamedTuple):
    """A call that creates a value again.

    Attributes:
        function: the function to call.
        arguments: its positional arguments.
        keywords: its keyword arguments.
    """

    function: Any
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]


def packed(value: Any) -> Any:
    """Replace each module, partial and wrapped function in a value by a Call."""
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
    if (
        callable(value)
        and not isinstance(value, BY_NAME)
        and (found := _import_path(value)) is not None
    ):
        return Call(_named, found, {})
    return value


def unpacked(value: Any) -> Any:
    """Restore the value that `packed` was given."""
    if isinstance(value, Call):
        return unpacked(value.function)(*map(unpacked, value.arguments), **unpacked(value.keywords))
    if type(value) in (list, tuple):
        return type(value)(map(unpacked, value))
    return {key: unpacked(item) for key, item in value.items()} if type(value) is dict else value


def check_pickle(what: str, value: Any, cure: str) -> None:
    """Check that pickle can store a value, while pickle is running.

    cloudpickle and dill are not checked, since they can store it.

    Args:
        what: name of the value, for the message.
        value: the value.
        cure: what to do instead, for the message.

    Raises:
        InputError: where pickle cannot store the value.
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
    except Exception as error:  # pickle passes on whatever the parts of a value raise
        raise InputError(f"{what} cannot be pickled ({error}); {cure}") from None


def _is_linen(value: Any) -> bool:
    linen = sys.modules.get("flax.linen")
    return linen is not None and isinstance(value, linen.Module)


def _changed(module: Any) -> dict[str, Any]:
    """Select the fields of a Linen module that differ from their defaults, except for its
    parent.
    """
    own = {
        each.name: (getattr(module, each.name), each.default)
        for each in fields(module)
        if each.init and each.name != "parent"
    }
    return {name: value for name, (value, default) in own.items() if value is not default}


def _makes(call: Call, value: Any) -> bool:
    try:
        return bool(unpacked(call) == value)
    except Exception:  # a user's class may refuse its fields, or define any comparison
        return False


def _import_path(value: Any) -> tuple[str, str] | None:
    """Find the module and name under which a value can be imported, or None."""
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
