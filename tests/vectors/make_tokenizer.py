#!/usr/bin/env python3
"""The tokenisers' judges: SentencePiece and Hugging Face's tokenizers.

  make_tokenizer.py vocabularies DIR
      Trains a vocabulary of 512 pieces (the golden models have as many) of each kind on the text below and writes tokenizer-KIND.gguf, with no tensors in it,
      and tokenizer-KIND.json: [text, ids] pairs, without a token in front. DIR is tests/vectors.
  make_tokenizer.py random FILE.gguf N OUT.json
      N random texts and their ids by SentencePiece, which is given the pieces and scores of the file
      (tokenizer.ggml.model llama). tests/engine/text/tokenizer_check compares them.
  make_tokenizer.py hashes FILE.gguf N OUT.txt
      The same, of each 100 texts a line of two hashes: XXH3-64 of the texts, and of their ids, each text and each list
      of ids behind its length, little-endian 32-bit numbers. tests/engine/text/test_tokenizer_trained.c draws the same
      texts: tests/golden/gemma3-270m/random.txt is of 10,000.

Needs tokenizer_requirements.txt.
"""
import json
import random
import struct
import sys

import gguf
import sentencepiece
import xxhash
from sentencepiece import sentencepiece_model_pb2 as proto
import io
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

TEXT = """The quick brown fox jumps over the lazy dog. It's 12:45, and they're late; we've seen 1,234.50 of it.
When does replaying a graph of kernels beat launching them one by one, by how much, and at which depth?
for (int i = 0; i < n; i++) {
    sum += values[i] * weights[i];
        if (sum > 100) return sum;
}


Größe, naïve café, déjà vu, Zażółć gęślą jaźń. Что это такое? Это текст. 你好，世界。今天天气很好。 こんにちは世界。
مرحبا بالعالم. שלום עולם. नमस्ते दुनिया। 안녕하세요 세계.

I'm sure that you'll say they'd do it. The kernel's tokens, the kernels' token. A graph, the graph, of the graphs.
\tTabs\tand\ttabs.  Two spaces,   three spaces.    Four.
https://example.org/a?b=c&d=%20#e 3.14159e-5 0xDEADBEEF snake_case CamelCase UPPER lower
"""
CORPUS = [line + "\n" for line in TEXT.splitlines()] + [TEXT]
QWEN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
BYTES = [f"<0x{b:02X}>" for b in range(256)]
# The blocks that random characters come from; all have been in Unicode for long.
BLOCKS = [(0x20, 0x7E)] * 6 + [(0xA0, 0x24F), (0x370, 0x3FF), (0x400, 0x4FF), (0x5D0, 0x5EA), (0x621, 0x64A),
                               (0x905, 0x939), (0x2000, 0x206F), (0x2190, 0x21FF), (0x3041, 0x3096), (0x4E00, 0x4FFF),
                               (0xAC00, 0xAD00), (0x1F600, 0x1F64F), (0x660, 0x669), (0x2150, 0x218B), (0x300, 0x36F)]
WHITE = [" ", " ", " ", "  ", "\n", "\n\n", "\t", "\r\n", "\r", "\u00a0", "\u3000", "\u2028", "     ", "\n\n\n\n"]
ODD = ["'s", "'S", "'ll", "'Re", "'\u017f", "''", "'", "1", "42", "<0x41>", "\x00", "\x7f", "\u200d", "\ufeff", "<b>", "</i>",
       "\U0001F469\u200d\U0001F467", "..\n\n", "-->\n", "_", "==="]


class SplitMix:
    """What random_text takes of random.Random, by base/random.h."""

    def __init__(self, seed):
        self.state = seed

    def next(self):
        mask = 2**64 - 1
        self.state = z = (self.state + 0x9E3779B97F4A7C15) & mask
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & mask
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB & mask
        return z ^ (z >> 31)

    def below(self, n):
        while (x := self.next()) < 2**64 % n:
            pass
        return x % n

    def random(self):
        return (self.next() >> 11) * 2.0**-53

    def randint(self, low, high):
        return low + self.below(high - low + 1)

    def choice(self, items):
        return items[self.below(len(items))]


def random_text(rng, words, marks):
    out = []
    for _ in range(rng.randint(0, 24)):
        kind = rng.random()
        if kind < 0.45:
            out.append(rng.choice(words))
        elif kind < 0.65:
            out.append(rng.choice(WHITE))
        elif kind < 0.75:
            out.append(rng.choice(ODD))
        elif kind < 0.78 and marks:
            out.append(rng.choice(marks))
        else:
            low, high = rng.choice(BLOCKS)
            out.append("".join(chr(rng.randint(low, high)) for _ in range(rng.randint(1, 4))))
        if kind < 0.45 and rng.random() < 0.7:
            out.append(" ")
    # What stands for a space cannot be told from one.
    return "".join(out).replace("\u2581", "")


def texts(seed, n, marks=()):
    rng = random.Random(seed)
    words = TEXT.split()
    return ["", " ", "\n", TEXT] + [random_text(rng, words, list(marks)) for _ in range(n)]


def write(path, model, pre, pieces, ids, scores=None, merges=None, prefix=None, bos=True):
    w = gguf.GGUFWriter(path, "none")
    w.add_tokenizer_model(model)
    w.add_tokenizer_pre(pre)
    w.add_token_list([p for p, _ in pieces])
    w.add_token_types([t for _, t in pieces])
    if scores:
        w.add_token_scores(scores)
    if merges:
        w.add_token_merges(merges)
    for key, value in ids.items():
        w.add_uint32(f"tokenizer.ggml.{key}_token_id", value)
    w.add_bool("tokenizer.ggml.add_bos_token", bos)
    if prefix is not None:
        w.add_bool("tokenizer.ggml.add_space_prefix", prefix)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def save(path, pairs):
    with open(path, "w", encoding="ascii") as f:
        f.write("[\n" + ",\n".join(json.dumps(p, separators=(",", ":")) for p in pairs) + "\n]\n")


def make_llama(directory, name, prefix):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS), model_writer=model, model_type="bpe", vocab_size=512, byte_fallback=True,
        add_dummy_prefix=prefix, normalization_rule_name="identity", remove_extra_whitespaces=False,
        user_defined_symbols=["\n", "\n\n", "\u2581\u2581", "\u2581\u2581\u2581\u2581", "\t", "<b>"],
        control_symbols=["<start_of_turn>", "<end_of_turn>"], split_by_whitespace=True, character_coverage=0.98,
        pad_id=0, eos_id=1, bos_id=2, unk_id=3, minloglevel=2)
    m = proto.ModelProto()
    m.ParseFromString(model.getvalue())
    sp = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    # User-defined ones as published files have them: their spaces are spaces.
    pieces = [(p.piece.replace("\u2581", " ") if p.type == USER_DEFINED else p.piece, p.type) for p in m.pieces]
    write(f"{directory}/tokenizer-{name}.gguf", "llama", "default", pieces, {"bos": 2, "eos": 1},
          [p.score for p in m.pieces], prefix=prefix)
    save(f"{directory}/tokenizer-{name}.json", [[t, sp.encode(t)] for t in texts(1, 300)])


def make_gemma4(directory):
    t = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    t.normalizer = normalizers.Replace(" ", "\u2581")
    t.pre_tokenizer = pre_tokenizers.Split(Regex("[^\n]+|\n+"), "isolated")
    control = ["<pad>", "<eos>", "<bos>", "<unk>", "<|turn>", "<turn|>", "<|channel>", "<channel|>"]
    # As words of a list, so that pieces do not grow over whole lines.
    t.train_from_iterator((w for line in CORPUS for w in [line[:7], *line.replace(" ", " \0").split("\0"), "\n\n\n"]),
                          trainers.BpeTrainer(vocab_size=511, special_tokens=control + BYTES, show_progress=False))
    # Byte pieces are none that text is searched for.
    state = json.loads(t.to_str())
    state["added_tokens"] = [a for a in state["added_tokens"] if a["content"] in control]
    t = Tokenizer.from_str(json.dumps(state))
    t.add_tokens([AddedToken("<b>", normalized=False)])
    vocab = sorted(t.get_vocab().items(), key=lambda x: x[1])
    kinds = {**dict.fromkeys(control, CONTROL), **dict.fromkeys(BYTES, BYTE), "<b>": USER_DEFINED}
    write(f"{directory}/tokenizer-gemma4.gguf", "gemma4", "default", [(p, kinds.get(p, NORMAL)) for p, _ in vocab],
          {"bos": 2, "eos": 1}, merges=[" ".join(m) for m in state["model"]["merges"]])
    save(f"{directory}/tokenizer-gemma4.json",
         [[s, t.encode(s, add_special_tokens=False).ids] for s in texts(2, 300, ["<b>"])])


def make_qwen2(directory):
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(QWEN), "isolated"),
                                               pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(CORPUS * 3, trainers.BpeTrainer(
        vocab_size=508, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False, min_frequency=3))
    merges = [" ".join(m) for m in json.loads(t.to_str())["model"]["merges"]]
    control = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    t.add_special_tokens(control)
    t.add_tokens([AddedToken("<think>", normalized=False)])
    vocab = sorted(t.get_vocab().items(), key=lambda x: x[1])
    kinds = {**dict.fromkeys(control, CONTROL), "<think>": USER_DEFINED}
    write(f"{directory}/tokenizer-qwen2.gguf", "gpt2", "qwen2", [(p, kinds.get(p, NORMAL)) for p, _ in vocab],
          {"eos": len(vocab) - 2}, merges=merges, bos=False)
    save(f"{directory}/tokenizer-qwen2.json",
         [[s, t.encode(s, add_special_tokens=False).ids] for s in texts(3, 300, ["<think>"])])


def random_pairs(path, n):
    r = gguf.GGUFReader(path)
    field = r.fields["tokenizer.ggml.tokens"]
    m = proto.ModelProto()
    m.trainer_spec.model_type = proto.TrainerSpec.BPE
    m.trainer_spec.byte_fallback = True
    m.normalizer_spec.name = "identity"
    m.normalizer_spec.add_dummy_prefix = bool(r.fields["tokenizer.ggml.add_space_prefix"].contents())
    m.normalizer_spec.remove_extra_whitespaces = False
    unknown = r.fields["tokenizer.ggml.unknown_token_id"].contents()
    scores, types = r.fields["tokenizer.ggml.scores"].contents(), r.fields["tokenizer.ggml.token_type"].contents()
    for i, at in enumerate(field.data):
        piece = bytes(field.parts[at]).decode()
        kind = UNKNOWN if i == unknown else types[i]
        m.pieces.add(piece=piece.replace(" ", "\u2581"), score=scores[i], type=kind)
    sp = sentencepiece.SentencePieceProcessor(model_proto=m.SerializeToString())
    rng = SplitMix(4)
    words = [p.piece.replace("\u2581", " ") for p in m.pieces if p.type in (NORMAL, USER_DEFINED)]
    return [[t, sp.encode(t)] for t in (random_text(rng, words, ["<b>"]) for _ in range(n))]


def save_hashes(path, pairs):
    with open(path, "w", encoding="ascii") as f:
        for i in range(0, len(pairs), 100):
            texts, ids = xxhash.xxh3_64(), xxhash.xxh3_64()
            for text, tokens in pairs[i:i + 100]:
                text = text.encode()
                texts.update(struct.pack("<i", len(text)) + text)
                ids.update(struct.pack(f"<{1 + len(tokens)}i", len(tokens), *tokens))
            f.write(f"{texts.hexdigest()} {ids.hexdigest()}\n")


if len(sys.argv) == 3 and sys.argv[1] == "vocabularies":
    make_llama(sys.argv[2], "llama", False)
    make_llama(sys.argv[2], "llama-prefix", True)
    make_gemma4(sys.argv[2])
    make_qwen2(sys.argv[2])
elif len(sys.argv) == 5 and sys.argv[1] in ("random", "hashes"):
    (save if sys.argv[1] == "random" else save_hashes)(sys.argv[4], random_pairs(sys.argv[2], int(sys.argv[3])))
else:
    sys.exit(__doc__)
