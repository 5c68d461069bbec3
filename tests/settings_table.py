#!/usr/bin/python3
"""
The README's table of every setting, made from what the programs' own --help says.

    tests/settings_table.py            prints it
    tests/settings_table.py --write    puts it into README.md, between its two marks

SHELFWIRE_BUILD names the directory with the programs (build/bin of the checkout, unless set).
"""
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
BUILD = pathlib.Path(os.environ.get("SHELFWIRE_BUILD", ROOT / "build/bin"))
README = ROOT / "README.md"
BEGIN, END = "<!-- every setting: made by tests/settings_table.py --write -->\n", "<!-- the end of every setting -->\n"
KINDS = {kind: sorted(p.stem for p in (ROOT / kind).glob("*.c")) for kind in ("producers", "workers", "ops")}
PROGRAMS = [name for names in KINDS.values() for name in names]
# "  NAME  (a|b)  [default]  (required, secret)", and the sentence on the next line
SETTING = re.compile(r"^  ([A-Z][A-Z0-9_]*)(?:  \(((?!required|secret)[^)]*)\))?(?:  \[(.*)\])?"
                     r"(?:  \(((?:required|secret)[^)]*)\))?\n      (.*)$", re.M)


def settings(help_text):
    """[(name, choices, default, marks, sentence)]; of what is not set or not said, None."""
    settings_part = help_text.partition("Settings are environment variables")[2]
    found = [match.groups() for match in SETTING.finditer(settings_part)]
    named = re.findall(r"^  ([A-Z]\S*)", settings_part, re.M)
    assert [row[0] for row in found] == named, f"not understood: {set(named) - {row[0] for row in found}}"
    return found


def read_by():
    """{a setting: the programs that have just this one}, in the programs' order and their own."""
    found = {}
    for name in PROGRAMS:
        text = subprocess.run([BUILD / name, "--help"], check=True, stdout=subprocess.PIPE, text=True).stdout
        for setting in settings(text):
            found.setdefault(setting, []).append(name)
    return found


def whose(programs):
    rest = [name for name in PROGRAMS if name not in programs]
    if not rest:
        return "Every program"
    for kind, words in (("producers", "Every producer"), ("workers", "Every worker")):
        if programs == KINDS[kind]:
            return words
    if len(rest) <= 2:
        return "Every program but " + " and ".join(f"`{name}`" for name in rest)
    if programs == KINDS["producers"] + KINDS["workers"]:
        return "Every producer and worker"
    return ", ".join(f"`{name}`" for name in programs)


def cell(words):
    return re.sub(r"([|*<])", r"\\\1", words)


def row(setting):
    name, choices, default, marks, sentence = setting
    said = ["`" + default.replace("|", "\\|") + "`" if default else "", marks or ""]
    if choices:
        sentence += "; " + ", ".join(f"`{choice}`" for choice in choices.split("|"))
    return f"| `{name}` | {', '.join(filter(None, said))} | {cell(sentence)} |"


def table():
    """What most programs read comes first."""
    groups = {}
    for setting, programs in read_by().items():
        groups.setdefault(tuple(programs), []).append(row(setting))
    order = sorted(groups, key=lambda programs: (-len(programs), PROGRAMS.index(programs[0])))
    head = "\n**{}**\n\n| setting | default | what it decides |\n|---|---|---|\n"
    return "".join(head.format(whose(list(programs))) + "\n".join(groups[programs]) + "\n" for programs in order) + "\n"


def in_readme():
    text = README.read_text()
    return text[text.index(BEGIN) + len(BEGIN):text.index(END)]


def main():
    if sys.argv[1:] == ["--write"]:
        README.write_text(README.read_text().replace(BEGIN + in_readme() + END, BEGIN + table() + END))
    elif not sys.argv[1:]:
        print(table(), end="")
    else:
        sys.exit(__doc__.strip())


if __name__ == "__main__":
    main()
