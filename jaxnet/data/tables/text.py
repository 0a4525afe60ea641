"""From bytes to text: unpack a file, and find the encoding of its text."""

import codecs
import gzip
import io
import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from jaxnet.errors import InputError, near_path

if TYPE_CHECKING:
    import pyarrow as pa

STRETCH = 1 << 20  # bytes looked at together
FOREIGN_BYTES = 1 << 16  # bytes of words beyond ASCII, from which an encoding is inferred
HEAD_BYTES, FEWEST_LINES = 1 << 16, 6
# Letters, and the signs between them, of Western languages in Windows-1252
LATIN_WORD = re.compile(r"[A-Za-zÀ-ÖØ-öø-ÿŒœ]+")
LATIN_SIGN = re.compile(r"[\s\d\x21-\x2f:;<=>?@\[\\\]^_`{|}~€‚„…‰‹‘’“”•–—™›\u00a0-¿×÷]*")
SIGN_IN_WORD = re.compile(r"(?<=[A-Za-zÀ-ÖØ-öø-ÿ])[^A-Za-zÀ-ÖØ-öø-ÿŒœ\s\d](?=[A-Za-zÀ-ÖØ-öø-ÿ])")
SIGNS_IN_WORDS = "'-\u2019\u00b7"
# no byte of a character in Shift-JIS or GBK is one of those that end a cell here
CELL = re.compile(rb'[^\x00-\x1f",;]*[\x80-\xff][^\x00-\x1f",;]*')


@dataclass(frozen=True)
class Text:
    """A text file whose encoding is known.

    Attributes:
        path: the file.
        encoding: encoding of its text.
        note: how the encoding was found; None for UTF-8.
        breaks_in_quotes: whether a line may end within quotes.
        quotes: whether it may hold quotes.
        spaces: whether a cell may begin or end with a space.
        unpacked: its bytes where they differ from those on disk; else None.
    """

    path: Path
    encoding: str
    note: str | None
    breaks_in_quotes: bool
    quotes: bool = True
    spaces: bool = True
    unpacked: bytes | None = None

    def open(self) -> "pa.NativeFile":
        """The bytes as a file of PyArrow."""
        import pyarrow as pa

        if self.unpacked is not None:
            return pa.BufferReader(self.unpacked)
        return pa.OSFile(os.fsencode(self.path))  # names of files need not be UTF-8


class _Survey(NamedTuple):
    """What the bytes of a text are: whether all are UTF-8, and as in Text."""

    is_utf8: bool
    breaks_in_quotes: bool
    quotes: bool
    spaces: bool


def text_of(path: Path, encoding: str | None) -> Text:
    """Find the encoding of a text file.

    UTF-8 and UTF-16 are recognized with certainty. Of others, Windows-1252 is taken where all of
    the text reads as words of Western languages, and another one only where charset-normalizer
    finds no second possibility.

    Args:
        path: the file; its name ends in .gz where it is compressed.
        encoding: the encoding, where it is known.

    Returns:
        The Text.

    Raises:
        InputError: for a file that is missing, empty or no text, and where several encodings are
            possible; it names them.
    """
    unpacked = None
    try:
        if path.suffix.lower() == ".gz":
            unpacked = gzip.decompress(path.read_bytes())
        with open(path, "rb") as file:
            start = file.read(4096) if unpacked is None else unpacked[:4096]
    except FileNotFoundError:
        raise InputError(f"{path}: no such file{near_path(path)}") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be decompressed ({error}); get the file again") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error}); may you read it?") from None
    if start[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        unpacked, encoding = _transcoded(path, unpacked, encoding or "utf-16"), "utf-8"
    elif encoding is not None and _is_wide(encoding):
        unpacked, encoding = _transcoded(path, unpacked, encoding), "utf-8"
    elif b"\0" in start:
        raise InputError(
            f"{path}: is no text in UTF-8 (it holds zero bytes); save it as CSV in UTF-8, or name "
            "its encoding with --encoding, such as utf-16"
        )
    if not start.strip(b"\xef\xbb\xbf \r\n\t"):
        raise InputError(f"{path}: is empty; it needs a header and rows")
    survey = _survey(path, unpacked)
    note = None
    if encoding is None and survey.is_utf8:
        encoding = "utf-8"
    elif encoding is None:
        encoding, note = _encoding_of(path, _foreign(path, unpacked))
    return Text(
        path, encoding, note, survey.breaks_in_quotes, survey.quotes, survey.spaces, unpacked
    )


def head_of(text: Text) -> tuple[str, bool]:
    """The first lines of a text.

    Args:
        text: the text.

    Returns:
        (64 KiB, more of them until there are a few lines; whether that is all of it).

    Raises:
        InputError: where it is not in the encoding that was given.
    """
    with text.open() as file:
        start, size = b"", HEAD_BYTES
        while more := file.read(size):
            start, size = start + more, size * 2
            if start.count(b"\n") + start.count(b"\r") >= FEWEST_LINES:
                break
        whole = not file.read(1)
    decoder = codecs.getincrementaldecoder(
        "utf-8-sig" if text.encoding == "utf-8" else text.encoding
    )()
    try:
        return decoder.decode(start, final=whole), whole
    except UnicodeDecodeError as error:
        raise not_in(text, error) from None


def not_in(text: Text, error: Exception) -> InputError:
    """The error for a text that is not in the encoding that was given for it."""
    return InputError(
        f"{text.path}: is not in the encoding {text.encoding} ({error}); leave --encoding "
        "(Table(encoding=...)) out, or give another"
    )


def has_leading_zeros(text: Text, separator: str) -> bool:
    """Whether a cell may begin with a zero before another digit."""
    before = np.zeros(256, bool)
    before[list(b'\n\r "' + separator.encode())] = True
    for data in _pieces(text.path, text.unpacked, 2):
        piece = np.frombuffer(data, np.uint8)
        # the last bytes of a piece are looked at with the next one
        zeros = np.flatnonzero(piece[1:-1] == ord("0"))
        digits = piece[zeros + 2] - ord("0") < 10  # of unsigned bytes
        if (digits & before[piece[zeros]]).any():
            return True
    return False


def _pieces(path: Path, unpacked: bytes | None, overlap: int = 0) -> Iterator[bytes]:
    """The bytes of a file, a stretch at a time; each begins with the last bytes before it, and the
    first with line breaks.
    """
    last = b"\n" * overlap
    with io.BytesIO(unpacked) if unpacked is not None else open(path, "rb") as file:
        while part := file.read(STRETCH):
            yield last + part if overlap else part
            last = (last + part)[-overlap:] if overlap else b""


def _survey(path: Path, unpacked: bytes | None) -> _Survey:
    decoder = codecs.getincrementaldecoder("utf-8")()
    is_utf8, quotes, breaks, spaces = True, 0, False, False
    for data in _pieces(path, unpacked):
        ascii_only = data.removeprefix(codecs.BOM_UTF8).isascii()
        if is_utf8 and (not ascii_only or decoder.getstate()[0]):
            try:
                decoder.decode(data)
            except UnicodeDecodeError:
                is_utf8 = False
        spaces = spaces or not ascii_only or any(sign in data for sign in (b" ", b"\t"))
        if not breaks and b'"' in data:
            places = np.flatnonzero(np.frombuffer(data, np.uint8) == ord('"'))
            lines = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n"))
            breaks = bool(((np.searchsorted(places, lines) + quotes) % 2).any())
            quotes += len(places)
        elif quotes % 2 and b"\n" in data:
            breaks = True
    is_utf8 = is_utf8 and not decoder.getstate()[0]  # a character may be cut off at the end
    return _Survey(is_utf8, breaks, quotes > 0, spaces)


def _foreign(path: Path, unpacked: bytes | None) -> bytes:
    """The first cells that are not ASCII."""
    found, held = [], 0
    for data in _pieces(path, unpacked):
        for line in data.splitlines():
            if not line.isascii():
                found += CELL.findall(line)
                held += len(line)
        if held > FOREIGN_BYTES:
            break
    return b"\n".join(found)[:FOREIGN_BYTES]


def _is_wide(encoding: str) -> bool:
    """Whether an encoding writes ASCII in other bytes than ASCII does."""
    return ",".encode(encoding)[-1:] != b"," or len(",".encode(encoding)) != 1


def _transcoded(path: Path, unpacked: bytes | None, encoding: str) -> bytes:
    try:
        return (path.read_bytes() if unpacked is None else unpacked).decode(encoding).encode()
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: is not in the encoding {encoding} ({error}); save it as CSV in UTF-8"
        ) from None


def _encoding_of(path: Path, foreign: bytes) -> tuple[str, str]:
    """(the encoding, a note). foreign: words that are not UTF-8."""
    from charset_normalizer import from_bytes

    def first(decoded: str) -> str:
        words = [word for word in re.split(r"[\s\d,;|\"]+", decoded) if not word.isascii()]
        return max(words, key=len, default=decoded)[:20]

    try:
        western = foreign.decode("cp1252")
        if _is_western(western):
            return "cp1252", f"read as cp1252, since it is not UTF-8: {first(western)!r}"
    except UnicodeDecodeError:
        pass
    found = {str(each): each.encoding for each in from_bytes(foreign)}
    possible = {
        encoding: first(decoded)
        for decoded, encoding in found.items()
        if _is_of_one_script(decoded)
    }
    if len(found) == len(possible) == 1:
        ((encoding, example),) = possible.items()
        return encoding, f"read as {encoding}, since it is not UTF-8: {example!r}"
    examples = [f"{encoding} reads {example!r}" for encoding, example in possible.items()][:4]
    known = ", ".join(examples) or "such as cp1252, shift_jis, gbk, mac_roman or cp850"
    raise InputError(
        f"{path}: is not in UTF-8, and its encoding is uncertain ({known}); name it with "
        "--encoding (Table(encoding=...)), or save the file in UTF-8"
    )


def _is_western(text: str) -> bool:
    """Whether a text in Windows-1252 reads as words of Western languages: most letters are ASCII,
    no word has a small letter before a capital, and no sign but an apostrophe stands within a word.
    """
    words = [word for word in LATIN_WORD.findall(text) if not word.isascii()]
    letters = "".join(words)
    accented = sum(not letter.isascii() for letter in letters)
    if accented > 0.6 * len(letters) or any(re.search(r"[a-zß-ÿ][À-ÖØ-Þ]", word) for word in words):
        return False
    if not LATIN_SIGN.fullmatch(LATIN_WORD.sub("", text)):
        return False
    inside = re.findall(
        r"(?<=[A-Za-zÀ-ÖØ-öø-ÿ])[^A-Za-zÀ-ÖØ-öø-ÿŒœ\s\d](?=[A-Za-zÀ-ÖØ-öø-ÿ])", text
    )
    return all(sign.isascii() or sign in SIGNS_IN_WORDS for sign in inside)


def _is_of_one_script(text: str) -> bool:
    """Whether no letter of another script stands beside one of ASCII, and none cannot be shown."""
    mixed = re.search(
        r"[A-Za-z][^\x00-\u02af\u2000-\u206f]|[^\x00-\u02af\u2000-\u206f][A-Za-z]", text
    )
    return not mixed and not re.search(r"[\x80-\x9f\ue000-\uf8ff]", text)
