"""Seeded text of the recall model's language, as tokens and in bulk: stories, and sequences in which sentences are
hidden and asked for as gemmark quality does it.

Random numbers are numpy's RandomState, whose streams are the same in every version.
"""
import numpy as np

from recall import tokens, words

ROSTER = 12  # people of a story
STORY = (60, 420)  # sentences
YEAR_DIGITS = 4

# Loss weights, by what a token is.
WEIGHT_STORY, WEIGHT_STATEMENT, WEIGHT_QUESTION, WEIGHT_ANSWER = 0.1, 0.1, 1.0, 1.0


class Language:
    """Word lists as tokens. Every word of a slot is one piece, so that a template's length is its own."""

    def __init__(self):
        v = self.vocabulary = tokens.Vocabulary()
        one = lambda word: self._one(" " + word)
        lists = {"PERSON": words.PEOPLE, "TOWN": words.TOWNS, "TRADE": words.TRADES, "COLOUR": words.COLOURS,
                 "ANIMAL": words.ANIMALS, "NOUN": words.NOUNS, "QUALITY": words.QUALITIES, "DAY": words.DAYS}
        lists["OTHER"], lists["HOME"] = lists["PERSON"], lists["TOWN"]
        self.lists = {name: np.array([one(w) for w in ws], np.int32) for name, ws in lists.items()}
        self.digits = np.array([self._one(d) for d in "0123456789"], np.int32)
        # Slots are negative codes: -1 - index; DIGIT is the last.
        self.digit_code = -1 - len(words.SLOTS)
        templates = [(0, words.STORY_BEGINS)] + words.TEMPLATES
        coded = [self._code(text) for _, text in templates]
        self.lengths = np.array([len(c) for c in coded])
        self.codes = np.zeros((len(coded), self.lengths.max()), np.int32)
        for row, code in zip(self.codes, coded):
            row[:len(code)] = code
        self.odds = np.cumsum([w for w, _ in templates]) / sum(w for w, _ in templates)
        self.materials = np.array([one(w) for w in words.MATERIALS], np.int32)
        self.things = np.array([one(w) for w in words.THINGS], np.int32)
        self.statement = self._sentence(words.STATEMENT)
        self.questions = [self._sentence(q + words.ANSWER) for q in (words.VERBATIM, words.PARAPHRASED)]
        self.asked = [len(v.encode(q.format(material="tin", thing="drum")))
                      for q in (words.VERBATIM, words.PARAPHRASED)]
        self.newline = self._one("\n")

    def _one(self, text):
        ids = self.vocabulary.encode(text)
        assert len(ids) == 1, text
        return ids[0]

    def _code(self, text):
        out = []
        for i, part in enumerate(text.split("YEAR")):
            if i:
                out.append(self._one(" "))
                out += [self.digit_code] * YEAR_DIGITS
                assert part[0] in " ,."
            part = part[:-1] if part.endswith(" ") and i < text.count("YEAR") else part
            for word in part.replace(".", " .").replace(",", " ,").split(" "):
                if word in words.SLOTS:
                    out.append(-1 - words.SLOTS.index(word))
                elif word in (".", ","):
                    out.append(self._one(word))
                elif word:
                    out += self.vocabulary.encode(word if word.startswith("\n") else " " + word)
        return out

    def _sentence(self, text):
        """A sentence of material, thing and value: its tokens, and where those stand."""
        ids = self.vocabulary.encode(text.format(material="tin", thing="drum", value="1234"))
        digits = [ids.index(self.digits[d]) for d in (1, 2, 3, 4)]
        return np.array(ids, np.int32), ids.index(self._one(" tin")), ids.index(self._one(" drum")), digits

    def stories(self, random, n):
        """n tokens of stories, from the beginning of one."""
        most = n // int(self.lengths[1:].min()) + 2
        story_lengths = STORY[0] + (random.random_sample(most // STORY[0] + 2) * (STORY[1] - STORY[0])).astype(int)
        begins = np.concatenate([[0], np.cumsum(story_lengths)])
        begins = begins[begins < most]
        story = np.zeros(most, np.int64)
        story[begins[1:]] = 1
        story = np.cumsum(story)
        template = np.searchsorted(self.odds, random.random_sample(most), side="right")
        template[begins] = 0
        n_stories = len(begins)
        draw = lambda name, shape: (random.random_sample(shape) * len(self.lists[name])).astype(int)
        people = len(self.lists["PERSON"])
        roster = np.argsort(random.random_sample((n_stories, people)), axis=1)[:, :ROSTER]
        facts = {name: draw(name, (n_stories, people)) for name in ("TOWN", "TRADE", "COLOUR", "ANIMAL")}
        # Some people are met often and some hardly.
        odds = np.cumsum(1 / (2.0 + np.arange(ROSTER)))
        first = np.searchsorted(odds / odds[-1], random.random_sample(most), side="right")
        second = (first + 1 + (random.random_sample(most) * (ROSTER - 1)).astype(int)) % ROSTER
        person, other = roster[story, first], roster[story, second]
        chosen = {"PERSON": person, "OTHER": other, "HOME": facts["TOWN"][story, other]}
        for name in facts:
            chosen[name] = facts[name][story, person]
        lengths = self.lengths[template]
        ends = np.cumsum(lengths)
        used = int(np.searchsorted(ends, n)) + 1
        sentence = np.repeat(np.arange(used), lengths[:used])
        at = np.arange(len(sentence)) - (ends - lengths)[sentence]
        out = self.codes[template[sentence], at]
        for i, name in enumerate(words.SLOTS):
            where = np.nonzero(out == -1 - i)[0]
            ids = chosen[name][sentence[where]] if name in chosen else draw(name, len(where))
            out[where] = self.lists[name][ids]
        where = np.nonzero(out == self.digit_code)[0]
        out[where] = self.digits[(random.random_sample(len(where)) * 10).astype(int)]
        return out[:n]

    def _fill(self, sentence, material, thing, value):
        ids, m, t, digits = sentence
        out = np.broadcast_to(ids, material.shape + ids.shape).copy()
        out[..., m], out[..., t] = material, thing
        out[..., digits] = value
        return out

    def batch(self, random, n, length, hidden, at_end=0.5):
        """n sequences of `length` tokens and the one behind them, each with `hidden` statements and a question of each.

        Returns tokens (n, length + 1), weights of the loss on each as a target, and, where it is an answer's, the
        number of its question, else -1. at_end: the share of questions that stand at the end.
        """
        k = hidden
        pick = lambda ids: ids[np.argsort(random.random_sample((n, len(ids))), axis=1)[:, :k]]
        material, thing = pick(self.materials), pick(self.things)
        value = (random.random_sample((n, k, YEAR_DIGITS)) * 10).astype(int)
        value[..., 0] = 1 + value[..., 0] % 9
        value = self.digits[value]
        kind = (random.random_sample((n, k)) < 0.5).astype(int)
        stated = self._fill(self.statement, material, thing, value)
        asked = [self._fill(q, material, thing, value) for q in self.questions]
        question_lengths = np.array([a.shape[-1] for a in asked])
        rest = length - k * stated.shape[-1] - question_lengths[kind].sum(1)
        most = int(rest.max())
        assert rest.min() > 0, "too many questions"
        stories = self.stories(random, n * most + n)
        # A sequence begins anywhere in a story.
        starts = (random.random_sample(n) * len(stories)).astype(int)
        stories = np.take(stories, (starts[:, None] + np.arange(most)) % len(stories))
        # Everything by where it stands: the place among the story's tokens, then its own order.
        place = random.random_sample((n, k))
        late = np.where(random.random_sample((n, k)) < at_end, 1.0, place + (1 - place) * random.random_sample((n, k)))
        row = np.arange(n)[:, None]
        order_s = np.floor(place * rest[:, None])
        order_q = np.floor(late * rest[:, None])
        rank = random.random_sample((n, k)) * 0.25  # of items at one place; a question is behind its statement
        pieces, keys, weights, marks, rows = [], [], [], [], []

        def add(ids, key, weight, mark):
            shape = ids.shape
            pieces.append(ids.reshape(-1))
            keys.append(np.broadcast_to(key, shape).reshape(-1))
            weights.append(np.broadcast_to(weight, shape).reshape(-1))
            marks.append(np.broadcast_to(mark, shape).reshape(-1))
            rows.append(np.broadcast_to(row.reshape((n,) + (1,) * (len(shape) - 1)), shape).reshape(-1))

        add(np.full((n, 1), tokens.BOS, np.int32), -1.0, 0.0, -1)
        index = np.arange(most)
        add(stories, np.where(index < rest[:, None], index + 0.9, np.inf), WEIGHT_STORY, -1)
        add(stated, (order_s + rank)[..., None], WEIGHT_STATEMENT, -1)
        for q, ids in enumerate(asked):
            size = ids.shape[-1]
            weight = np.where(np.arange(size) < self.asked[q], WEIGHT_QUESTION, WEIGHT_ANSWER)
            weight[0] = WEIGHT_STORY
            answer = (np.arange(size) >= self.asked[q]) & (np.arange(size) < self.asked[q] + 1 + YEAR_DIGITS)
            mark = np.where(answer, np.arange(k)[:, None], -1)
            key = np.where(kind == q, order_q + 0.5 + rank, np.inf)[..., None]
            add(ids, key, weight, mark)
        pieces, keys, weights, marks, rows = (np.concatenate(x) for x in (pieces, keys, weights, marks, rows))
        keep = np.nonzero(keys < np.inf)[0]
        order = keep[np.lexsort((keys[keep], rows[keep]))]
        shape = (n, length + 1)
        return (pieces[order].reshape(shape), weights[order].astype(np.float32).reshape(shape),
                marks[order].reshape(shape), kind)
