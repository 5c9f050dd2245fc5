#!/usr/bin/env python3
"""Checks the English of comments, documents, messages and test names against a list of banned expressions.

    scripts/prose.py                every file that git knows
    scripts/prose.py PATH...        these files, and the files below these folders
    scripts/prose.py --self-test    fails unless each kind of file reports a banned expression

A finding is printed as `file:line: expression: suggestion`, and the exit status is 1. CONTRIBUTING.md, section English,
states the rules. A line that has to quote a banned expression contains `prose:allow`; in Markdown, `<!-- prose:off -->`
and `<!-- prose:on -->` enclose such lines.
"""

import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# Expression (a regular expression; a space is any white space, also a line break) -> suggestion.
BANNED = [
    (r"nobody", "name the component, or use the passive: `no client`, `is not read`"),
    (r"somebody|someone", "name the actor: `a client`, `another gateway`, `an operator`"),
    (r"everybody|everyone", "name the actors: `all clients`, `every reader`"),
    (r"anybody|anyone", "name the actor: `any client`"),
    (r"whoever", "name the actor: `the client that`, `a caller that`"),
    (r"so many", "state the number or the limit: `at most N`, `this number of`"),
    (r"so long", "state the duration: `for this time`, `for longer than`, `while`"),
    (r"of its own", "`its own`, or `a separate`"),
    (r"of their own", "`their own`, or `separate`"),
    (r"mend(?:s|ed|ing)?", "`fix`, `repair`"),
    (r"call(?:s|ed|ing)?(?: (?:it|them|this|that|orders?))? off", "`cancel`"),
    (r"go(?:es|ing)? on|went on|gone on", "`continue`, `resume`"),
    (r"for good(?! reasons?)", "`permanently`, or state the condition"),
    (r"look(?:s|ed|ing)? whether", "`check whether`"),
    (r"a text(?!-| (?:area|box|body|column|editor|field|file|format|frame|index|input|message|node|part|search))",
     "`a string`"),
    (r"(?<!help\s)texts", "`strings`"),
]
SPACE = r"[ \n]+"
PATTERN = re.compile(
    "|".join(rf"(?P<b{i}>\b(?:{words.replace(' ', SPACE)})\b)" for i, (words, _) in enumerate(BANNED)),
    re.IGNORECASE,
)

# Other people's files, files that never change after a release, and the list itself.
EXCLUDED = ("web/guide/", "web/vendor/", "gateway/tests/upgrade/", "scripts/prose.py", "sdk/go/pb/")
ALLOW = "prose:allow"

# What is between two pieces of prose: no expression continues over it.
GAP = "\0"


def scanner(**kinds):
    """A regular expression that finds comments and strings, each in a group named after its kind."""
    return re.compile("|".join(f"(?P<{kind}>{pattern})" for kind, pattern in kinds.items()), re.DOTALL)


DOUBLE = r'"(?:\\.|[^"\\])*"'
SINGLE = r"'(?:\\.|[^'\\\n])*'"
SCANNERS = {
    "rs": scanner(
        line=r"//[^\n]*", block=r"/\*.*?\*/", raw=r'r(?P<hashes>#+)".*?"(?P=hashes)|r"[^"]*"', string=DOUBLE,
        skip=r"'(?:\\.[^']*|[^'\\])'", name=r"\bfn\s+\w+"),
    "proto": scanner(line=r"//[^\n]*", block=r"/\*.*?\*/", string=DOUBLE),
    "go": scanner(line=r"(?<!:)//[^\n]*", block=r"/\*.*?\*/", string=DOUBLE, template=r"`[^`]*`"),
    "mjs": scanner(
        line=r"(?<![:\\])//[^\n]*", block=r"/\*.*?\*/", string=DOUBLE, single=SINGLE, template=r"`(?:\\.|[^`\\])*`"),
    "css": scanner(block=r"/\*.*?\*/"),
    "sql": scanner(line=r"--[^\n]*", block=r"/\*.*?\*/", single=r"'[^']*'"),
    "sh": scanner(line=r"(?:(?<=\s)|^|(?<=\n))#[^\n]*", string=DOUBLE, single=r"'[^']*'"),
}
SCANNERS["js"] = SCANNERS["ts"] = SCANNERS["mjs"]
SCANNERS["c"] = SCANNERS["proto"]
# These are prose as a whole.
WHOLE = {"md", "html", "graphql"}

# The sign at the beginning of each line of a comment is no part of the sentence.
LEADER = re.compile(r"^([ \t]*)(///|//!|//|--|#|\*(?!/)|/\*+)", re.MULTILINE)
# A line break in a string of Rust.
CONTINUATION = re.compile(r"\\\n")


def blank(text):
    """White space with the same line breaks."""
    return re.sub(r"[^\n]", " ", text)


def gap(text):
    """White space, and a mark if the text is more than white space."""
    return blank(text) if not text.strip() else GAP + blank(text)


def prose(extension, text):
    """The prose of a file, with the line breaks of the file."""
    if extension in WHOLE:
        return re.sub(r"<!-- prose:off -->.*?<!-- prose:on -->", lambda found: blank(found[0]), text, flags=re.DOTALL)
    parts, end = [], 0
    for found in SCANNERS[extension].finditer(text):
        parts.append(gap(text[end:found.start()]))
        end = found.end()
        kind, piece = found.lastgroup, found[0]
        if found.groupdict().get("raw"):
            kind = "raw"
        if kind == "skip":
            parts.append(gap(piece))
        elif kind == "name":
            parts.append(GAP + piece.replace("_", " ") + GAP)
        elif kind in ("line", "block"):
            parts.append(LEADER.sub(lambda sign: sign[1] + " " * len(sign[2]), piece))
        else:
            parts.append(GAP + CONTINUATION.sub(" \n", piece) + GAP)
    parts.append(gap(text[end:]))
    return "".join(parts)


def findings(extension, text):
    """The line, expression and suggestion of each banned expression."""
    lines = text.split("\n")
    checked = prose(extension, text)
    for found in PATTERN.finditer(checked):
        line = checked.count("\n", 0, found.start())
        if ALLOW not in lines[line]:
            suggestion = BANNED[int(found.lastgroup[1:])][1]
            yield line + 1, " ".join(found[0].split()), suggestion


def extension_of(path):
    return os.path.splitext(path)[1].lstrip(".")


def files(paths):
    """The files to check that git knows, by their paths from the root of the repository."""
    command = ["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--"]
    listed = subprocess.run(command + [os.path.abspath(path) for path in paths], check=True, stdout=subprocess.PIPE)
    for path in sorted(set(listed.stdout.decode().split("\0"))):
        known = extension_of(path) in SCANNERS or extension_of(path) in WHOLE
        if known and not path.startswith(EXCLUDED) and os.path.isfile(os.path.join(ROOT, path)):
            yield path


def check(paths):
    count = 0
    for path in files(paths):
        with open(os.path.join(ROOT, path), encoding="utf-8") as file:
            text = file.read()
        for line, words, suggestion in findings(extension_of(path), text):
            print(f"{path}:{line}: {words}: {suggestion}")
            count += 1
    if count:
        print(f"{count} banned expressions; CONTRIBUTING.md, section English, states the rules", file=sys.stderr)
    return 1 if count else 0


def self_test():
    """Each text has the findings that are listed with it, as line and expression."""
    cases = [
        ("rs", "/// Nobody reads it, so\n/// many times.\nfn read() {}", [(1, "Nobody"), (1, "so many")]),
        ("rs", 'let text = "the order\\\n    goes on";', [(2, "goes on")]),
        ("rs", 'let so = 1; let many = "so"; let long = "long";', []),
        ("rs", 'let mark = \'"\'; // a text of its own', [(1, "a text"), (1, "of its own")]),
        ("rs", 'r#"a "quoted" thing, mended"#; r"calls it off"', [(1, "mended"), (1, "calls it off")]),
        ("rs", "async fn it_went_on_for_good() {}", [(1, "went on"), (1, "for good")]),
        ("rs", "let nobody = whoever();", []),
        ("rs", "// nobody prose:allow", []),
        ("proto", "// Everybody\nmessage Nobody {}", [(1, "Everybody")]),
        ("sql", "-- it looks\n-- whether\nSELECT 'so long'", [(1, "looks whether"), (3, "so long")]),
        ("sh", "# somebody\necho 'anyone' ${#someone}", [(1, "somebody"), (2, "anyone")]),
        ("mjs", "const url = 'http://nobody'; // whoever\n`so\nmany`", [(1, "nobody"), (1, "whoever"), (2, "so many")]),
        ("ts", "/** so many */\nconst url = 'http://nobody'", [(1, "so many"), (2, "nobody")]),
        ("go", "// whoever\nvar a = `so\nmany`", [(1, "whoever"), (2, "so many")]),
        ("css", "/* texts */ .texts {}", [(1, "texts")]),
        ("html", "<p>a text</p><p>a text file, help texts</p>", [(1, "a text")]),
        ("graphql", '"""\nMend it.\n"""', [(2, "Mend")]),
        ("md", "It goes\non.\n<!-- prose:off -->\nnobody\n<!-- prose:on -->\nnobody", [(1, "goes on"), (6, "nobody")]),
        ("md", "For good reasons, recommended amendments are ongoing.", []),
    ]
    wrong = 0
    for extension, text, expected in cases:
        found = [(line, words) for line, words, _ in findings(extension, text)]
        if found != expected:
            print(f"self-test of .{extension}: {text!r}: expected {expected}, found {found}", file=sys.stderr)
            wrong += 1
    return 1 if wrong else 0


if __name__ == "__main__":
    arguments = sys.argv[1:]
    sys.exit(self_test() if arguments == ["--self-test"] else check(arguments))
