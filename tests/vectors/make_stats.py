#!/usr/bin/env python3
"""Writes stats.json: what SciPy, statsmodels and Apache Otava make of fixed samples.

tests/harness/stats/test_stats_vectors.c compares harness/stats*.c with it. The tests need no Python; run this again
only to change the vectors:

    python3 -m venv v && v/bin/pip install --no-deps -r tests/vectors/requirements.txt
    v/bin/python tests/vectors/make_stats.py > tests/vectors/stats.json
"""

import json
import math
import statistics
import sys

import numpy as np
from otava.change_point_divisive.calculator import PairDistanceCalculator
from scipy import special, stats
from statsmodels.stats.multitest import multipletests

rng = np.random.default_rng(20261122)


def floats(values):
    return [float(v) for v in values]


def order_statistics():
    samples = [
        rng.lognormal(7, 0.3, 11),
        rng.lognormal(7, 0.3, 40),
        rng.normal(1e9, 1e-3, 101),
        np.round(rng.exponential(20, 662)),
        np.array([3.0]),
        np.array([2.0, 2.0, 2.0, 9.0]),
    ]
    out = []
    for x in samples:
        out.append({
            "x": floats(x),
            "median": float(np.median(x)),
            "mad": float(stats.median_abs_deviation(x, scale=1.0)),
            "quantiles": [[q, float(np.quantile(x, q, method="linear"))] for q in (0, 0.05, 0.5, 0.9, 0.99, 1)],
            # In exact rationals: numpy loses digits of a spread 1e-12 of the mean.
            "sd": statistics.stdev(floats(x)) if len(x) > 1 else None,
        })
    return out


def sign_flip():
    samples = [rng.normal(shift, 1, n) for n in range(2, 17) for shift in (0, 0.4, 2)]
    samples += [
        np.array([1.0, 1, 1, 1, 1, 1]),
        np.array([0.1, 0.2, -0.3, 0.1, 0.2]),  # sums that are equal but for rounding
        np.array([0.0, 0, 0]),
        np.array([0.0, 0.01, -0.02, 0, 0.03]),
        np.array([1e-3, 2e-3, 7.0, 3e-3]),
        np.round(rng.normal(0.5, 1, 16), 1),
    ]
    out = []
    for d in samples:
        r = stats.permutation_test((d,), np.sum, permutation_type="samples", n_resamples=np.inf,
                                   alternative="two-sided")
        out.append({"d": floats(d), "p": float(min(1, r.pvalue))})
    return out


def mann_whitney():
    out = []
    # No ties: SciPy's exact distribution.
    for n, m in ((1, 1), (1, 5), (3, 3), (5, 5), (5, 8), (12, 9), (13, 13), (30, 25), (50, 50)):
        for shift in (0, 0.7, 3):
            x, y = rng.normal(0, 1, n), rng.normal(shift, 1, m)
            r = stats.mannwhitneyu(x, y, method="exact")
            out.append({"x": floats(x), "y": floats(y), "p": float(r.pvalue)})
    # Ties: all permutations of the midranks.
    for n, m, step in ((3, 4, 1.0), (5, 5, 0.5), (7, 4, 1.0), (8, 8, 1.0), (6, 7, 2.0)):
        for shift in (0, 1.5):
            x = np.round(rng.normal(0, 1, n) / step) * step
            y = np.round(rng.normal(shift, 1, m) / step) * step

            def rank_sum(a, b, axis=-1):
                ranks = stats.rankdata(np.concatenate((a, b), axis=axis), axis=axis)
                return np.sum(ranks[..., : a.shape[axis]], axis=axis)

            r = stats.permutation_test((x, y), rank_sum, permutation_type="independent", vectorized=True,
                                       n_resamples=np.inf, alternative="two-sided")
            out.append({"x": floats(x), "y": floats(y), "p": float(min(1, r.pvalue))})
    # Too many to count: the approximation.
    for n, m, digits in ((60, 50, 9), (200, 300, 1), (101, 1, 9)):
        x, y = np.round(rng.normal(0, 1, n), digits), np.round(rng.normal(0.2, 1, m), digits)
        r = stats.mannwhitneyu(x, y, method="asymptotic", use_continuity=True)
        out.append({"x": floats(x), "y": floats(y), "p": float(r.pvalue)})
    return out


def adjusted():
    sets = [rng.uniform(0, 1, 40), rng.beta(0.3, 3, 12), np.array([0.03]), np.array([0.01, 0.01, 0.5, 0.01, 1.0])]
    return [{
        "p": floats(p),
        "holm": floats(multipletests(p, method="holm")[1]),
        "bh": floats(stats.false_discovery_control(p, method="bh")),
    } for p in sets]


def distributions():
    return {
        "beta": [[a, b, x, float(special.betainc(a, b, x))]
                 for a, b in ((0.5, 0.5), (1, 3), (6, 0.5), (20, 981), (500, 2))
                 for x in (1e-6, 0.01, 0.3, 0.5, 0.97)],
        "normal": [[p, float(stats.norm.ppf(p))] for p in (1e-12, 1e-4, 0.025, 0.3, 0.5, 0.95, 0.9995)],
        "t": [[p, df, float(stats.t.ppf(p, df))]
              for p in (1e-5, 0.005, 0.2, 0.5, 0.95, 0.9999) for df in (1, 2, 5, 12, 100)],
        "binomial": [[k, n, level, *floats(stats.binomtest(k, n).proportion_ci(level, method="exact"))]
                     for k, n in ((0, 1), (0, 100), (1, 100), (95, 100), (100, 100), (3, 1000), (512, 1000))
                     for level in (0.9, 0.95, 0.99)],
    }


class SplitMix:
    """base/random.h and its use in stats_estimate.c, so that both sides draw the same blocks and the intervals agree to rounding."""

    mask = (1 << 64) - 1

    def __init__(self, seed):
        self.state = seed

    def next(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & self.mask
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & self.mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & self.mask
        return z ^ (z >> 31)

    def sample(self, x):
        return np.array([x[((self.next() >> 32) * len(x)) >> 32] for _ in x])


def bootstrap():
    out = []
    for n, level, seed in ((1, 0.95, 1), (2, 0.95, 2), (5, 0.95, 3), (12, 0.95, 4), (13, 0.99, 5), (30, 0.9, 6)):
        d = rng.normal(0.01, 0.004, n)
        source = SplitMix(seed)
        ordered = np.sort(d)
        medians = [np.median(source.sample(ordered)) for _ in range(10000)]
        tails = ((1 - level) / 2, (1 + level) / 2)
        low, high = np.quantile(medians, tails)
        if n > 2:
            # The same interval with SciPy's own resampling: within the steps of the medians that can come out.
            ci = stats.bootstrap((d,), np.median, n_resamples=100000, confidence_level=level, method="percentile",
                                 rng=rng).confidence_interval
            step = np.max(np.diff(ordered))
            assert abs(ci.low - low) <= step and abs(ci.high - high) <= step, (n, ci, low, high)
        out.append({"d": floats(d), "level": level, "seed": seed, "low": float(low), "high": float(high)})
    shifts = []
    for n, m, level, seed in ((5, 7, 0.95, 7), (12, 12, 0.99, 8)):
        x, y = rng.normal(7, 0.01, n), rng.normal(7.02, 0.01, m)
        source = SplitMix(seed)
        a, b = np.sort(x), np.sort(y)
        medians = []
        for _ in range(10000):
            low = np.median(source.sample(a))
            medians.append(np.median(source.sample(b)) - low)
        low, high = np.quantile(medians, ((1 - level) / 2, (1 + level) / 2))
        shifts.append({"x": floats(x), "y": floats(y), "level": level, "seed": seed,
                       "low": float(low), "high": float(high)})
    return {"median": out, "shift": shifts}


def detectable_effect(sd, alpha, level, delta, power, n):
    if 2.0 ** (1 - n) >= alpha:
        return None
    error = sd / math.sqrt(n)
    t = stats.t(n - 1)
    return float(max((t.ppf(1 - alpha / 2) + t.ppf(power)) * error,
                     delta + (t.ppf((1 + level) / 2) + t.ppf(power)) * error * math.sqrt(math.pi / 2)))


def detectable():
    out = []
    for sd, alpha, level, delta, power in ((0.004, 0.01 / 40, 0.95, 0.01, 0.95), (0.02, 0.05, 0.95, 0.01, 0.8),
                                           (0.0001, 0.01, 0.99, 0.005, 0.9)):
        by_n = {n: detectable_effect(sd, alpha, level, delta, power, n) for n in range(2, 41)}
        needed = next((n for n, e in by_n.items() if e is not None and e <= 2 * delta), 0)
        out.append({"design": [sd, alpha, level, delta, power], "needed": needed,
                    "effects": [[n, by_n[n]] for n in (2, 5, 8, 13, 20, 40)]})
    return out


def change_points():
    """Otava's Q of every (split, end), from its closed form; ours is a running sum."""
    steps = np.concatenate([rng.normal(100, 0.3, 30), rng.normal(103, 0.3, 25), rng.normal(98, 0.3, 40)])
    samples = [
        ("two steps", steps, [30, 55]),
        ("one step", np.concatenate([rng.normal(600, 2, 40), rng.normal(588, 2, 20)]), [40]),
        ("variance", np.concatenate([rng.normal(0, 1, 60), rng.normal(0, 12, 60)]), None),
        ("noise", rng.normal(100, 1, 60), []),
        ("constant", np.full(25, 7.0), []),
        ("spike", np.concatenate([rng.normal(100, 0.3, 20), [140.0], rng.normal(100, 0.3, 20)]), None),
        ("lattice", np.repeat([5.0, 6.0, 5.0], [15, 15, 15]), [15, 30]),
        ("short", rng.normal(0, 1, 4), None),
    ]
    out = []
    for name, x, expected in samples:
        n = len(x)
        calculator = PairDistanceCalculator(x)
        q = calculator._get_Q_vals(0, n)
        splits = []
        for least in (1, 2, 5):
            at = np.arange(1, n)[:, None]
            end = np.arange(2, n + 1)[None, :]
            allowed = np.where((at >= least) & (end - at >= least), q, -np.inf)
            best = np.unravel_index(np.argmax(allowed), allowed.shape)
            if np.isfinite(allowed[best]):
                splits.append([least, int(best[0]) + 1, float(allowed[best])])
        out.append({"name": name, "x": floats(x), "splits": splits, "points": expected})
        if name == "noise":
            # That it is noise is Otava's verdict, not a wish: the share of shuffles with as large a Q.
            top, reached = q.max(), 0
            for _ in range(199):
                shuffled = PairDistanceCalculator(rng.permutation(x))
                reached += shuffled._get_Q_vals(0, n).max() >= top
            assert reached > 20, reached
    return out


json.dump({
    "order": order_statistics(),
    "sign_flip": sign_flip(),
    "mann_whitney": mann_whitney(),
    "adjusted": adjusted(),
    "distributions": distributions(),
    "bootstrap": bootstrap(),
    "detectable": detectable(),
    "change_points": change_points(),
}, sys.stdout, separators=(",", ":"))
print()
