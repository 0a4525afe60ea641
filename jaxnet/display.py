"""How names and nouns are shown: what text may hold, and which module draws which noun."""

import importlib
import logging
import re

# Control characters, line separators, marks that reverse the direction of text, lone surrogates.
UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)

# The function that draws a noun as HTML in a notebook, by the name of its class. It is imported at
# the first display: the nouns come first in the order of packages, and what draws them last.
NOTEBOOK = {
    "Diagnosis": "jaxnet.report.notebook:of_diagnosis",
    "Population": "jaxnet.report.notebook:of_population",
    "Run": "jaxnet.report.notebook:of_run",
}


def html(noun: object) -> str:
    """The HTML that a notebook shows for a noun of the table."""
    name = next(each.__name__ for each in type(noun).__mro__ if each.__name__ in NOTEBOOK)
    module, _, function = NOTEBOOK[name].partition(":")
    return getattr(importlib.import_module(module), function)(noun)


def visible(text: object) -> str:
    """The text with unseen characters escaped as Python writes them, so that a name is one line."""
    return UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode(), str(text))


def show_record(record: logging.LogRecord) -> bool:
    """A filter for a logger that makes its messages visible."""
    record.msg, record.args = visible(record.getMessage()), None
    return True


logging.getLogger("jaxnet").addFilter(show_record)
