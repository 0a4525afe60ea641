"""Results of studies as tables of text, a line of which is a row."""

from jaxnet.studies.bias_variance import BiasVariance


def bias_variance(found: BiasVariance) -> list[str]:
    """Error, bias and variance, a row for each value."""
    lines = [f"{found.vary or '':>14}{'examples':>10}{'members':>9}{'error':>26}{'bias²':>26}{'variance':>26}"]
    refused = set[str]()
    for each in found.measured:
        parts = each.decomposition
        sizes = (
            f"{size.estimate:.4f}{f' ({size.low:.4f}-{size.high:.4f})' if size.refused is None else '':>18}"
            for size in (parts.loss, parts.bias, parts.variance)
        )
        value = "" if each.value is None else f"{each.value:g}"
        lines.append(f"{value:>14}{each.examples:>10,}{parts.members:>9}" + "".join(f"{size:>26}" for size in sizes))
        refused |= {size.refused for size in (parts.bias, parts.variance) if size.refused}
    return lines + [f"no interval: {reason}" for reason in sorted(refused)]
