"""Names as they are shown: what would steer a terminal, break a line or cannot be encoded is escaped, as Python writes it."""

import logging
import re

# Control characters, separators of lines, marks that turn the direction of text around, and lone surrogates.
UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")


def visible(text: object) -> str:
    """The text with such characters escaped: a name is then one line, and what is read is what is there."""
    return UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode(), str(text))


def show_record(record: logging.LogRecord) -> bool:
    """A filter of a logger, by which its messages are shown so."""
    record.msg, record.args = visible(record.getMessage()), None
    return True


logging.getLogger("jaxnet").addFilter(show_record)
