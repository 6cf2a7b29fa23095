"""Sentences that a person writes, by their first word: faults and expectations.

A usage is lines, divided by newlines; the part after two spaces tells what it is. A parser takes the words after the
first one and raises ValueError with a sentence, or without one for words that do not fit the usage."""

from cluster import Failure


class Vocabulary:
    def __init__(self, what):
        """what: a fault, an expectation."""
        self.what, self.forms = what, {}    # verb: (usage lines, parser)

    def register(self, verb, usage, parser):
        self.forms[verb] = (usage.strip().split("\n"), parser)

    def parse(self, words, *more):
        """(the sentence, what its parser returns); more: what the parser takes behind the words. Failure with a
        sentence that tells what may be written."""
        words = words.split() if isinstance(words, str) else list(words)
        text = " ".join(words)
        if not words or words[0] not in self.forms:
            raise Failure(f"{text or 'nothing'}: there is no such {self.what}; there are {', '.join(self.forms)}")
        usage, parser = self.forms[words[0]]
        try:
            return text, parser(words[1:], *more)
        except ValueError as e:
            forms = " or ".join(line.partition("  ")[0] for line in usage)
            raise Failure(f"{text}: {str(e) or 'does not fit'}; write {forms}") from None

    def help_text(self):
        """All of them with what they do."""
        lines = [line.partition("  ") for usage, _ in self.forms.values() for line in usage]
        width = max(len(form) for form, _, _ in lines)
        return "\n".join(f"  {form:<{width}}  {what.strip()}".rstrip() for form, _, what in lines)
