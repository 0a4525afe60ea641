"""The packages of jaxnet and what each may import: only packages to its left, also inside
functions.

    python tests/test_rooms.py

prints every import between packages, with the number of modules that make it.
"""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# From left to right; packages in one line do not import each other.
ROOMS = (
    ("ground",),
    ("runtime", "stats", "data"),
    ("models",),
    ("core",),
    ("kernels",),
    ("engine",),
    ("population", "interop"),
    ("diagnostics",),
    ("studies",),
    ("report",),
    ("cli",),
    ("jaxnet",),
    ("experiments",),
)
# modules in the root of the package
GROUND = {"arrays", "display", "errors", "progress", "random", "typing"}
FLOOR = {room: floor for floor, rooms in enumerate(ROOMS) for room in rooms}


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    paths = sorted((ROOT / "jaxnet").rglob("*.py"))
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in paths
    }


MODULES = modules()


def imported(name: str, path: Path) -> Iterator[str]:
    """Modules of the package that a module imports, those of type checkers left out."""
    tree = ast.parse(path.read_text())
    unseen = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if id(node) in unseen:
            continue
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names if each.name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name} has a relative import"
            for each in node.names:
                whole = f"{node.module}.{each.name}"
                if whole in MODULES or node.module in MODULES:
                    yield whole if whole in MODULES else str(node.module)


def room(module: str) -> str:
    """The package that a module of jaxnet belongs to."""
    _, *parts = module.split(".")
    if not parts or parts[0] == "__main__":
        return "jaxnet"
    return "ground" if parts[0] in GROUND else parts[0]


IMPORTS = {name: set(imported(name, path)) - {name} for name, path in MODULES.items()}


def between_rooms() -> Counter[tuple[str, str]]:
    """How many modules of one package import another, by (importing, imported)."""
    arrows = {
        (name, room(name), room(other)) for name, others in IMPORTS.items() for other in others
    }
    return Counter((one, other) for _, one, other in arrows if one != other)


def circles() -> list[list[str]]:
    """Modules that import each other, directly or through others."""
    reached = {name: set(others) for name, others in IMPORTS.items()}
    for middle in reached:  # Warshall 1962
        for others in reached.values():
            if middle in others:
                others |= reached[middle]
    found = {
        frozenset(other for other in others if name in reached.get(other, ()))
        for name, others in reached.items()
        if name in others
    }
    return sorted(sorted(each) for each in found)


pytestmark = pytest.mark.core


def test_every_module_is_in_a_room():
    assert {room(name) for name in MODULES} <= set(FLOOR)


def test_packages_import_only_what_is_to_their_left():
    upward = [
        f"{name} imports {other}"
        for name, others in IMPORTS.items()
        for other in sorted(others)
        if room(name) != room(other) and FLOOR[room(other)] >= FLOOR[room(name)]
    ]
    assert upward == []


def test_no_modules_import_each_other():
    assert circles() == []


if __name__ == "__main__":
    arrows = between_rooms()
    for rooms in ROOMS[:-1]:
        for one in rooms:
            counts = sorted(
                ((FLOOR[other], other, count) for (a, other), count in arrows.items() if a == one)
            )
            print(f"{one:12s} imports", ", ".join(f"{o} ({n})" for _, o, n in counts) or "nothing")
    print(len(arrows), "arrows between packages,", len(circles()), "circles of modules")
