"""
What must stand nowhere but where it belongs: secrets, tokens, and what tells who a person is.

One scan serves the scenarios (every log of every program, after every test) and the soak (logs, metrics, process lists,
environments, headers of dead letters, crash messages; tables and topics, for secrets).
"""
import re

SHAPES = (  # of the people and tokens that the scenarios make up
    ("a token", re.compile(r"\b[0-9a-f]{40}\b")),
    ("a caller's token", re.compile(r"\bsw_[\w-]{16,}")),
    ("a name", re.compile(r"(?:Vorname|Nachname)\d")),
    ("an e-mail", re.compile(r"leser\d+(?:@|%40)|\w(?:@|%40)example")),
    ("a card", re.compile(r"\b2282\d{10}\b")),
    ("an id", re.compile(r"\b[Gg]0\d{7}\b")),
)
TOKENS = SHAPES[:2]
WORD = re.compile(r"[\w.@+-]{5,}")
PART = re.compile(r"[0-9A-Za-z]{5,}")
BLANK = "(not shown)"


class Scan:
    def __init__(self, secrets=(), people=(), shapes=SHAPES):
        """
        secrets: found in the middle of other text too. people: found as whole words, so there may be a million: ids, cards,
        names, e-mails, patrons' numbers. shapes: (what, pattern).
        """
        self.secrets = re.compile("|".join(sorted(map(re.escape, filter(None, secrets)), key=len, reverse=True)) or r"(?!)")
        self.people, self.shapes = frozenset(people), shapes

    def read(self, where, text):
        """[finding], each kind of it once: where it stands and in what line, but never a secret itself."""
        found = {}
        if self.secrets.search(text):
            found["a secret"] = self.secrets
        for what, pattern in self.shapes:
            if pattern.search(text):
                found[what] = pattern
        told = self.people and next(filter(self.people.__contains__, self._words(text)), None)
        if told and not found:
            found["what tells a person"] = re.compile(re.escape(told))
        return [f"{where} holds {what}: {self._line(text, pattern)}" for what, pattern in found.items()]

    @staticmethod
    def _words(text):
        for word in set(WORD.findall(text)):
            yield word
            yield word.strip(".-+")
            yield from PART.findall(word)

    def _line(self, text, pattern):
        at = pattern.search(text).start()
        start, end = text.rfind("\n", 0, at) + 1, text.find("\n", at)
        line = text[start:end if end >= 0 else len(text)]
        line = line if len(line) < 400 else text[max(start, at - 200):at + 200]
        return self.secrets.sub(BLANK, line)
