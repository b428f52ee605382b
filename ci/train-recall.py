#!/usr/bin/env python3
"""Trains the recall model: a small Gemma 4 that finds what was said thousands of tokens before.

    ci/train-recall.py train --out DIR [--minutes 8] [--seed 1] [--lengths 256,1024,4096,17408]
    ci/train-recall.py text --tokens 200000 [--seed 1000] > FILE

train needs torch 2.11 and numpy, and minutes on one GPU. A smaller one learns 256 tokens in 17 minutes on a processor:
--small --lengths 128,256 --shares 0.6,0.4 --batch-tokens 1024 --rate 3e-3 --warm-up 100 --minutes 17. DIR gets
recall.q8_0.gguf, train.csv (loss and recall as they went), recall.json (what was trained, and how well the file
recalls) and what the engine is held against: tokens.i32 and logits.f32, of the weights that the file holds. The best
state so far is kept, and written when the time is over. Initial weights and texts are the seed's; the learning rate and
the lengths go by the time that has passed, so that a second run ends with other weights.

text writes stories of the same language that the model has not seen, for gemmark quality --text; it needs numpy alone.
The model sees a seed below 999, what it is evaluated with has 999, and texts have 1000 and more.
"""
import argparse
import contextlib
import dataclasses
import json
import math
import os
import queue
import sys
import threading
import time

try:
    import numpy as np
    from recall import gguf_file, language
except ModuleNotFoundError as missing:
    if missing.name != "numpy":
        raise
    np = None

TEXT_SEEDS = 1000
EVALUATION_SEED = 999
TOKENS_MOST = 10_000_000  # of a text, which is made in memory
SHORTEST = 96  # tokens of a sequence: two sentences and their questions
BATCH_TOKENS = 32768
EVALUATED_TOKENS = 1 << 18  # of a length, on a GPU
REFERENCE_TOKENS, REFERENCE_ROWS = 1024, 48
HIDDEN_MOST = 48
# The longest is what gemmark quality takes of a context of 16384 tokens.
LENGTHS = [256, 1024, 4096, 17408]
RECALLED = 0.985  # goes on to longer texts
NAME = "recall.q8_0.gguf"


def refuse(text):
    """Ends with one line."""
    print(f"train-recall.py: {text}", file=sys.stderr)
    sys.exit(2)


def hidden_most(length):
    """Sentences that fit into a sequence with their questions."""
    return min(HIDDEN_MOST, length // 48)


class Batches:
    """Batches made by a thread of its own, a few ahead."""

    def __init__(self, text, seed, batch_tokens):
        self.text, self.batch_tokens = text, batch_tokens
        self.random = np.random.RandomState(seed)
        self.lengths = None  # those of the batches, of which the last one comes most
        self.queue = queue.Queue(4)

    def _fill(self):
        r = self.random
        while True:
            lengths = self.lengths
            length = lengths[-1]
            if len(lengths) > 1 and r.random_sample() >= 0.75:
                length = lengths[r.randint(len(lengths) - 1)]
            most = hidden_most(length)
            hidden = r.randint(max(2, most // 3), most + 1)
            n = max(2, self.batch_tokens // length)
            self.queue.put((lengths, self.text.batch(r, n, length, hidden)[:2]))

    def next(self, lengths):
        """Tokens and weights of the next one of these lengths."""
        began, self.lengths = self.lengths is not None, lengths
        if not began:
            threading.Thread(target=self._fill, daemon=True).start()
        while True:
            of, batch = self.queue.get()
            if of == lengths:
                return batch


def evaluate(torch, model, text, device, length, n_sequences, cast):
    """Shares of the questions, all asked at the end, whose value's every token is the likeliest; by kind."""
    random = np.random.RandomState(EVALUATION_SEED)
    hits, losses = ([], []), []
    hidden = min(8, hidden_most(length))
    rows = max(1, BATCH_TOKENS // length)
    for done in range(0, n_sequences, rows):
        n = min(rows, n_sequences - done)
        ids, weights, marks, kind = text.batch(random, n, length, hidden, at_end=1.0)
        ids = torch.from_numpy(ids).long().to(device)
        with torch.no_grad(), cast():
            logits = model.cap(model(ids[:, :-1]))
        right = (logits.argmax(-1) == ids[:, 1:]).cpu().numpy()
        nll = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
        nll = nll.cpu().numpy()
        stories = np.isclose(weights[:, 1:].reshape(-1), language.WEIGHT_STORY)
        losses.append(nll[stories].mean())
        for row in range(n):
            for question in range(hidden):
                hits[kind[row, question]].append(right[row][marks[row, 1:] == question].all())
    return [float(np.mean(h)) for h in hits], float(np.mean(losses))


def train(options):
    if len(options.shares) != len(options.lengths):
        refuse(f"argument --shares: {len(options.shares)} of {len(options.lengths)} lengths; give one of each")
    try:
        import torch
    except ImportError:
        refuse("torch is not there, which trains; install it (text needs numpy alone)")
    from recall import network

    began = time.monotonic()
    limit = options.minutes * 60
    torch.manual_seed(options.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    text = language.Language()
    shape = network.Shape(n_vocab=len(text.vocabulary), context=max(options.lengths))
    if options.small:
        shape = dataclasses.replace(shape, n_embd=128, n_ff=128, pattern="sgsg", n_shared=0, n_kv=1)
    model = network.Recall(shape).to(device)
    n_parameters = sum(p.numel() for p in model.parameters())
    decayed = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() == 1]
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.05}, {"params": others, "weight_decay": 0}],
                                  lr=options.rate, betas=(0.9, 0.98), fused=device.type == "cuda")
    cast = contextlib.nullcontext
    if device.type == "cuda":
        cast = lambda: torch.autocast("cuda", dtype=torch.bfloat16)
        print(torch.cuda.get_device_name(), flush=True)
    print(f"torch {torch.__version__}, {n_parameters} parameters, vocabulary of {shape.n_vocab}", flush=True)
    os.makedirs(options.out, exist_ok=True)
    log = open(os.path.join(options.out, "train.csv"), "w", encoding="utf-8")
    log.write("step,seconds,tokens,length,rate,loss,evaluated,verbatim,paraphrased,story_nll\n")

    batches = Batches(text, options.seed, options.batch_tokens)
    stage, shares = 0, np.cumsum(options.shares)
    step, seen, rate, best, best_state = 0, 0, 0.0, -1.0, None
    losses, reported = [], time.monotonic()
    while True:
        now = time.monotonic()
        over = now - began > limit
        lengths = options.lengths[:stage + 1]
        if over or now - reported >= options.report:
            mean = float(torch.stack(losses).mean()) if losses else 0
            losses, found, said = [], [], []
            for length in lengths:
                n = max(4, min(64, EVALUATED_TOKENS // length)) if device.type == "cuda" else 16
                (verbatim, paraphrased), story = evaluate(torch, model, text, device, length, n, cast)
                found.append(min(verbatim, paraphrased))
                said.append(f"{length}: {100 * verbatim:.1f} {100 * paraphrased:.1f} % ({story:.2f})")
                log.write(f"{step},{now - began:.1f},{seen},{lengths[-1]},{rate:.3g},{mean:.4f},{length},"
                          f"{verbatim:.4f},{paraphrased:.4f},{story:.4f}\n")
            log.flush()
            print(f"step {step}, {now - began:.0f} s, {seen / (now - began) / 1000:.0f} k tokens/s, loss {mean:.3f}, "
                  f"rate {rate:.2e}; recall {'; '.join(said)}", flush=True)
            # Of lengths to come nothing is known: a later stage is better.
            score = stage + float(np.mean(found))
            if score >= best:
                best = score
                best_state = [p.detach().float().cpu().clone() for p in model.parameters()]
            if stage + 1 < len(options.lengths) and (found[-1] >= RECALLED or (now - began) / limit > shares[stage]):
                stage += 1
            reported = time.monotonic()
        if over:
            break
        ids, weights = batches.next(options.lengths[:stage + 1])
        progress = (now - began) / limit
        rate = options.rate * min(1, (step + 1) / options.warm_up) * min(1, max(0.02, (1 - progress) / 0.4))
        for group in optimizer.param_groups:
            group["lr"] = rate
        ids = torch.from_numpy(ids).long().to(device, non_blocking=True)
        weights = torch.from_numpy(weights).to(device, non_blocking=True)[:, 1:].flatten()
        with cast():
            logits = model(ids[:, :-1])
        nll = torch.nn.functional.cross_entropy(model.cap(logits).flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
        loss = (nll * weights).sum() / weights.sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        seen += weights.numel()
        losses.append(loss.detach())
    log.close()
    write(torch, model, best_state, text, device, options,
          {"parameters": n_parameters, "steps": step, "tokens": seen, "seconds": round(time.monotonic() - began, 1),
           "torch": torch.__version__,
           "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu"})


def write(torch, model, state, text, device, options, about):
    """The file, and what it does: with the weights that it holds, in float32."""
    shape = model.shape
    tensors = {name + ".weight": p.numpy() for name, p in zip(model.names, state)}
    tensors["rope_freqs.weight"] = model.rope_factors().numpy()
    description = f"trained by ci/train-recall.py, seed {options.seed}, {about['steps']} steps"
    keys = gguf_file.metadata(shape, text.vocabulary, "q8_0", "Gemmark recall", description)
    path = os.path.join(options.out, NAME)
    held = gguf_file.write(path, keys, tensors, "q8_0")
    for name, p in zip(model.names, model.parameters()):
        p.data = torch.from_numpy(held[name + ".weight"].copy()).to(device)
    about["recall"] = {}
    torch.backends.cuda.matmul.allow_tf32 = False
    for length in options.lengths:
        n = max(8, min(128, 2 * EVALUATED_TOKENS // length)) if device.type == "cuda" else 32
        (verbatim, paraphrased), story = evaluate(torch, model, text, device, length, n, contextlib.nullcontext)
        about["recall"][length] = {"sequences": n, "verbatim": verbatim, "paraphrased": paraphrased, "story_nll": story}
        print(f"the file, {length} tokens: {100 * verbatim:.1f} % verbatim, {100 * paraphrased:.1f} % paraphrased",
              flush=True)
    # On the processor, for its sums are plain float32.
    model.cpu().double()
    ids = text.batch(np.random.RandomState(EVALUATION_SEED), 1, REFERENCE_TOKENS, 8, at_end=1.0)[0][0]
    with torch.no_grad():
        logits = model.cap(model(torch.from_numpy(ids[None, :-1]).long()))[0]
    ids[:-1].astype("<i4").tofile(os.path.join(options.out, "tokens.i32"))
    logits[-REFERENCE_ROWS:].float().numpy().astype("<f4").tofile(os.path.join(options.out, "logits.f32"))
    about.update(seed=options.seed, lengths=options.lengths, shape=dataclasses.asdict(shape),
                 bytes=os.path.getsize(path))
    with open(os.path.join(options.out, "recall.json"), "w", encoding="utf-8") as f:
        json.dump(about, f, indent=1)
        f.write("\n")
    print(f"{path}: {about['bytes']} bytes after {about['seconds']:.0f} s", flush=True)


def write_text(options):
    text = language.Language()
    ids = text.stories(np.random.RandomState(options.seed), options.tokens)
    sys.stdout.write(text.vocabulary.decode(ids))


class Parser(argparse.ArgumentParser):
    def error(self, message):
        refuse(message)


def whole(least, most, why=""):
    """Whole numbers; why: what else is wrong with others."""
    def parse(value):
        try:
            n = int(value)
        except ValueError:
            n = None
        if n is None or not least <= n <= most:
            raise argparse.ArgumentTypeError(f"{value!a} is no whole number from {least} to {most}{why}")
        return n
    return parse


def positive(value):
    try:
        x = float(value)
    except ValueError:
        x = math.nan
    if not 0 < x < math.inf:
        raise argparse.ArgumentTypeError(f"{value!a} is no number above 0")
    return x


def several(of):
    return lambda value: [of(x) for x in value.split(",")]


def main():
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, dest="command")
    t = commands.add_parser("train")
    t.add_argument("--out", required=True)
    t.add_argument("--minutes", type=positive, default=8)
    t.add_argument("--seed", type=whole(0, EVALUATION_SEED - 1), default=1)
    t.add_argument("--lengths", type=several(whole(SHORTEST, 1 << 20)), default=LENGTHS)
    t.add_argument("--shares", type=several(positive), default=[0.3, 0.15, 0.25, 0.3],
                   help="of the time, at most, a length")
    t.add_argument("--rate", type=positive, default=2e-3)
    t.add_argument("--warm-up", type=whole(1, 1 << 20), default=200)
    t.add_argument("--batch-tokens", type=whole(1, 1 << 24), default=BATCH_TOKENS)
    t.add_argument("--report", type=positive, default=10, help="seconds from one line to the next")
    t.add_argument("--small", action="store_true")
    t.set_defaults(run=train)
    x = commands.add_parser("text")
    x.add_argument("--tokens", type=whole(1, TOKENS_MOST), default=200000)
    x.add_argument("--seed", type=whole(TEXT_SEEDS, 2**32 - 1, ": lower ones are the model's"), default=TEXT_SEEDS)
    x.set_defaults(run=write_text)
    options = parser.parse_args()
    if np is None:
        refuse("numpy is not there; install it, and torch to train")
    options.run(options)


main()
