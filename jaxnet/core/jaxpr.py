"""Traced programs (jaxprs): one interpreter, which walks the equations of a program with a table of
rules.

A rule says what one operation makes of its operands. What an operand is, is the caller's choice:
kernels/batch_last.py holds the values of a whole batch, interop/program.py only notes what was
computed.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

V = TypeVar("V")
Rule = Callable[[JaxprEqn, list[V]], Sequence[V]]

# Operations that call a program of their own, by all the names that JAX 0.7 to 0.12 gives them.
CALLS = {
    *("jit", "pjit", "closed_call", "core_call", "eval_jaxpr", "checkpoint", "remat", "remat2"),
    *("custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr"),
}
INNER = ("jaxpr", "call_jaxpr", "fun_jaxpr")  # the parameter that holds the program


def refuse(equation: JaxprEqn, operands: Sequence[Any]) -> Any:
    """Raise NotImplementedError with the name of an operation."""
    raise NotImplementedError(f"operation {equation.primitive.name!r}")


def interpret(
    jaxpr: Jaxpr,
    constants: Sequence[V],
    args: Sequence[V],
    *,
    rules: Mapping[str, Rule[V]],
    lift: Callable[[Any], V],
    otherwise: Rule[V] = refuse,
) -> list[V]:
    """Outputs of a program, computed by rules.

    Args:
        jaxpr: the program.
        constants: values of its constants.
        args: values of its arguments.
        rules: what an operation makes of its operands, by the name of its primitive.
        lift: makes a value of an array that the program holds.
        otherwise: the rule of operations without one. Programs that are called, as by `jax.jit` or
            `jax.checkpoint`, are interpreted in their place before that.

    Returns:
        The values of its outputs.

    Raises:
        NotImplementedError: with the name of an operation that has no rule, unless `otherwise` has
            one.
    """
    known: dict[Any, V] = dict(
        zip([*jaxpr.constvars, *jaxpr.invars], [*constants, *args], strict=True)
    )

    def read(variable: Any) -> V:
        if isinstance(variable, Literal):
            return lift(np.asarray(variable.val, variable.aval.dtype))  # pyrefly: ignore[missing-attribute]
        return known[variable]

    for equation in jaxpr.eqns:
        name, operands = equation.primitive.name, [read(variable) for variable in equation.invars]
        if name not in rules and name in CALLS:
            inner, held = called(equation)
            outputs = interpret(
                inner, [*map(lift, held)], operands, rules=rules, lift=lift, otherwise=otherwise
            )
        else:
            outputs = rules.get(name, otherwise)(equation, operands)
        known.update(zip(equation.outvars, outputs, strict=True))
    return [read(variable) for variable in jaxpr.outvars]


def called(equation: JaxprEqn) -> tuple[Jaxpr, list[Any]]:
    """The program that an operation of CALLS calls, and its constants."""
    inner = next(equation.params[word] for word in INNER if word in equation.params)
    return (inner.jaxpr, inner.consts) if isinstance(inner, ClosedJaxpr) else (inner, [])


def bind(primitive: Any, params: Mapping[str, Any], *values: Any) -> list[Any]:
    """Outputs of an operation with these parameters on other arrays."""
    bound = primitive.get_bind_params(params)
    functions, params = bound if isinstance(bound, tuple) else ((), bound)  # JAX 0.7 returns a pair
    outputs = primitive.bind(*functions, *values, **params)
    return outputs if primitive.multiple_results else [outputs]


def equations(jaxpr: Jaxpr) -> Iterator[JaxprEqn]:
    """All equations of a program, each followed by those of the programs among its parameters."""
    for equation in jaxpr.eqns:
        yield equation
        for leaf in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda leaf: isinstance(leaf, ClosedJaxpr)
        ):
            if isinstance(leaf, ClosedJaxpr | Jaxpr):
                yield from equations(leaf.jaxpr if isinstance(leaf, ClosedJaxpr) else leaf)
