"""Plain words: what outsiders did not understand is said in no document, string or transcript."""

import ast
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import jaxnet
from jaxnet.__main__ import main

ROOT = Path(__file__).parent.parent
GUIDES = ROOT / "experiments/guides"
DOCUMENTS = [ROOT / "README.md", *sorted(GUIDES.glob("*.md"))]
CODE = [
    path
    for path in [*sorted((ROOT / "jaxnet").rglob("*.py")), *sorted(ROOT.glob("experiments/*.py"))]
    if path.name != "__init__.py" or path.stat().st_size
]
SCRIPTS = sorted((ROOT / "jaxnet/report/html").glob("*.js"))

# Phrases that readers marked as not understood.
UNCLEAR = (
    "judges what it trained",
    "step of the error ladder",
    "like any other take",
    "jax.vmap take like any other",
    "what development needs",
    "and what to do? of",
    "in luck alone",
    "of a few hundred rows",
    "also one in disorder",
    "disturbs none",
    "takes the test error apart",
    "another definite one",
    "(`--no-cache`: not)",
    "from the first line to the accuracy",
    "the world still",
    "while no notebook holds the tpu",
    "so it is, where",
    "too much / fine",
    "not settled",
    "examples of the same kind, and so many of them",
    "make the same mistakes",
    "mistakes of their own",
    "times as many examples would settle",
    "will hardly settle",
    "those in training at epoch",
    "a step of one member has",
    "float32, a regression",
    "holds times",
    "; with probability 1% at 2,800",
    "be foreseen",
    "epochs the training error still fell, by",
    "wrong among the training labels",
    "are mislabelled as often",
    "by chance alone it would be",
    "temperature for them",
    "members train on one cpu device",
    "more than at the last value by",
    "what it takes for what",
    "while it learned",
    "to repeat it",
    "can its confidence be believed",
    "more data will not help, shown",
    "nothing is shown to be above",
    "against it would help",
    "choose with examples from where",
    "the way those differ",
    "training, while it changes",
    "the line is none",
    "a line a run",
    "the farthest off first",
    "moved until its box lies",
    "it is seen from them, and said why",
    "as many on the whole training set, and others on parts of it",
    "that cannot be meant",
    "of one-hot rows give",
    "table is in disorder",
    "can it be believed",
    "a gain is a gain of",
    "mean and scale are those",
    "all luck, that of",
    "carry the doubt",
    "stand beside each other without",
    "examples, and what it costs",
    "are compared from",
    "kept none",
    "network of the folder",
    "answered with the nearest",
    "says more than a file can",
    "decide none of this",
    "no bit of a network changes",
    "more data are no change",
    "on less of it than all folds",
    "lose the same on",
    "say the same of",
)
# Old words and turns, as regular expressions.
UNITS = (
    "architecture|batch|class|column|core|cycle|day|device|epoch|example|fold|key|label|layer|line|"
    "member|network|prediction|program|race|recipe|row|run|seed|step|structure|task|trial|value"
)
OLD = (
    r"beware",
    r"mend(s|ed|ing)?",
    r"fore(see|sees|seen|saw)",
    rf"(a|an|one|no) (program|key|row|column|line|number|value|message|device|folder|sub-folder|"
    rf"network|probability|batch of trials) (a|an) ({UNITS})",
    r"names rows more than kinds",
    r"white (?=pixel)(?!pixel)|second_momentum",
    r"(un|mis)?labelled|neighbours?|colours?|grey|artefacts?|behaviours?|favour(s|ed)?|modell(ed|ing)",
    r"(normal|optim|standard|initial|general|minim|maxim|summar|regular|organ|recogn)is(e|es|ed|ing|ation)",
    r"who diverged",
)
FORMER = re.compile(  # names that still answer, each beside the name of today
    r"normalisation|standardisation|Standardisation|standardised|UnlabelledError|second_momentum|"
    r"second-momentum|optimisation not finished"
)


def flat(text: str) -> str:
    return " ".join(text.split())


def hits(text: str) -> list[str]:
    """What a text holds of the phrases and the old words."""
    text = flat(text).lower()
    found = [phrase for phrase in UNCLEAR if phrase in text]
    found += [match[0] for old in OLD for match in re.finditer(rf"\b({old})\b", text)]
    return found


@cache
def strings(path: Path) -> str:
    """All strings of a module, docstrings among them, without names that are kept for old files."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = (
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    return FORMER.sub("", "\n".join(found))


def test_the_old_words_are_found():
    assert hits("Beware: a step is mended.\nIt could not be\n  foreseen.") == [
        "be foreseen",
        "beware",
        "mended",
        "foreseen",
    ]
    assert hits("one program a structure, a key a member, one number an example") == [
        "one program a structure",
        "a key a member",
        "one number an example",
    ]
    assert not hits("Recommended: an amendment for each program, and one program per architecture.")


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_documents_are_in_plain_words(path):
    assert not hits(path.read_text(encoding="utf-8"))


def test_strings_of_the_code_are_in_plain_words():
    found = {str(path.relative_to(ROOT)): hits(strings(path)) for path in CODE}
    found |= {path.name: hits(path.read_text(encoding="utf-8")) for path in SCRIPTS}
    assert not {name: each for name, each in found.items() if each}


def test_a_transcript_is_in_plain_words(tmp_path, capsys):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 240)
    folds = np.arange(240) % 8
    seen = np.stack([folds != fold for fold in [*range(8)] * 2])
    guessed = np.where(rng.random(seen.shape) < 0.15, rng.integers(0, 3, seen.shape), y)
    print(jaxnet.Diagnosis.from_cross_validation(np.where(seen, y, guessed), y, seen))
    table = tmp_path / "table.csv"
    rows = (f"{a:.2f},{'xyz'[b]},{b > 0}" for a, b in zip(rng.random(240), y, strict=True))
    table.write_text("\n".join(["size,kind,answer", *rows]), encoding="utf-8")
    main(["look", str(table), "--label", "answer"])
    main([])
    out = capsys.readouterr().out
    assert "high variance" in out
    assert "nothing was trained" in out.lower()
    assert not hits(out)


def test_the_glossary_has_at_most_twenty_words():
    rows = re.findall(r"^\| (?!word|---)([^|]+) \|", (GUIDES / "glossary.md").read_text(), re.M)
    assert 10 < len(rows) <= 20
    assert "data attribution" in (GUIDES / "glossary.md").read_text()


def test_the_readme_is_short_and_links_every_guide():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 200
    for path in GUIDES.glob("*.md"):
        assert f"experiments/guides/{path.name}" in text
