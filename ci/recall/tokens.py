"""The vocabulary of the recall model's file: byte-pair merges as Gemma 4's, made until every word of the language is
one piece. Digits never merge."""
import collections
import re
import string

from recall import words

SPACE = "\u2581"
PAD, EOS, BOS, UNKNOWN = range(4)
NORMAL, UNKNOWN_TYPE, CONTROL, BYTE = 1, 2, 3, 6  # as tokenizer.ggml.token_type numbers them


def _words():
    """Every word as text has it, once, in an order that does not change."""
    lists = [words.MATERIALS, words.THINGS, words.PEOPLE, words.TOWNS, words.TRADES, words.COLOURS, words.ANIMALS,
             words.NOUNS, words.QUALITIES, words.DAYS]
    found = [SPACE + w for each in lists for w in each]
    texts = [t for _, t in words.TEMPLATES]
    texts += [words.STORY_BEGINS, words.STATEMENT, words.VERBATIM, words.PARAPHRASED, words.ANSWER]
    for text in texts:
        for line in text.split("\n"):
            for word in line.replace(" ", " " + SPACE).split(" "):
                word = word.rstrip(".,")
                if word.strip(SPACE).isalpha() and word.strip(SPACE) not in words.SLOTS + ["YEAR"]:
                    found.append(word)
    return list(dict.fromkeys(found))


def _merges(all_words):
    """Byte-pair encoding: the commonest pair of neighbours first, of equal ones the first by its letters."""
    parts = [list(w) for w in all_words]
    merges = []
    while True:
        pairs = collections.Counter(pair for w in parts for pair in zip(w, w[1:]))
        if not pairs:
            return merges
        best = min(pairs, key=lambda p: (-pairs[p], p))
        merges.append(best)
        for w in parts:
            i = 0
            while i + 1 < len(w):
                if (w[i], w[i + 1]) == best:
                    w[i:i + 2] = [w[i] + w[i + 1]]
                i += 1


class Vocabulary:
    """pieces, types, merges: what the file holds."""

    def __init__(self):
        self.merges = _merges(_words())
        self.rank = {pair: i for i, pair in enumerate(self.merges)}
        self.pieces = ["<pad>", "<eos>", "<bos>", "<unk>"]
        self.types = [CONTROL, CONTROL, CONTROL, UNKNOWN_TYPE]
        self.pieces += [f"<0x{b:02X}>" for b in range(256)]
        self.types += [BYTE] * 256
        letters = ["\n", SPACE] + [c for c in string.printable[:95] if c != " "]
        seen = dict.fromkeys(letters + [a + b for a, b in self.merges])
        self.pieces += seen
        self.types += [NORMAL] * len(seen)
        while len(self.pieces) % 32:
            self.pieces.append(f"<unused{len(self.pieces)}>")
            self.types.append(CONTROL)
        self.ids = {p: i for i, p in enumerate(self.pieces)}
        self.cache = {}

    def __len__(self):
        return len(self.pieces)

    def _word(self, word):
        parts = list(word)
        while len(parts) > 1:
            ranks = [self.rank.get(p, len(self.merges)) for p in zip(parts, parts[1:])]
            best = min(ranks)
            if best == len(self.merges):
                break
            i = ranks.index(best)
            parts[i:i + 2] = [parts[i] + parts[i + 1]]
        return [self.ids[p] if p in self.ids else UNKNOWN for p in parts]

    def encode(self, text):
        """Ids of a text in ASCII."""
        out = []
        for word in re.findall(r"\n| ?[^ \n]+| ", text):
            word = word.replace(" ", SPACE)
            if word not in self.cache:
                self.cache[word] = self._word(word)
            out += self.cache[word]
        return out

    def decode(self, ids):
        """Text of ids, none of which is special or a byte."""
        return "".join(self.pieces[i] for i in ids).replace(SPACE, " ")
