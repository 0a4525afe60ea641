"""Packages whose names are imported when they are first asked for."""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable, Mapping


def attach(
    package: str, names: Mapping[str, Iterable[str]], subpackages: Iterable[str] = ()
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Make the `__getattr__` and `__dir__` of a package that imports its names when they are first
    asked for, so that nobody waits for what is not used.

    The modules of the package are attributes of it too. Type checkers need the same names once
    more, as imports under TYPE_CHECKING.

    Args:
        package: its `__name__`.
        names: the names that each module has, by the full name of the module.
        subpackages: the packages in it that `dir` lists.

    Returns:
        The two functions.

    References:
        Scientific Python, SPEC 1: Lazy loading of submodules and functions.
    """
    module_of = {name: module for module, listed in names.items() for name in listed}

    def __getattr__(name: str) -> object:
        if name in module_of:
            value = getattr(__import__(module_of[name], fromlist=[name]), name)
        elif not name.startswith("_") and importlib.util.find_spec(f"{package}.{name}"):
            value = importlib.import_module(f"{package}.{name}")
        else:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        setattr(sys.modules[package], name, value)
        return value

    def __dir__() -> list[str]:
        return sorted({*vars(sys.modules[package]), *module_of, *subpackages})

    return __getattr__, __dir__
