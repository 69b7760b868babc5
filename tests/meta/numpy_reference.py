"""Meta-learning of a small network in NumPy float64, without any of mlpeft's code.

The network is 2-3-2 with tanh and cross entropy, its gradient written out by hand. A
meta-objective is a function of the meta-parameters; its gradient is taken by central
differences, so no derivative of an inner loop is derived here, either.
"""

from __future__ import annotations

import numpy as np

LR = 0.4
STEPS = 3
LAMBDA = 1.5
LEAVES = ("layers.0.bias", "layers.0.weight", "layers.1.bias", "layers.1.weight")


def embed(p, x):
    return np.tanh(x @ p["layers.0.weight"].T + p["layers.0.bias"])


def cross_entropy(logits, y):
    largest = logits.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(logits - largest).sum(axis=1)) + largest[:, 0]
    return np.mean(log_sum - logits[np.arange(len(y)), y])


def loss(p, x, y):
    h = embed(p, x)
    return cross_entropy(h @ p["layers.1.weight"].T + p["layers.1.bias"], y)


def gradient(p, x, y):
    h = embed(p, x)
    logits = h @ p["layers.1.weight"].T + p["layers.1.bias"]
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    d = powers / powers.sum(axis=1, keepdims=True)
    d[np.arange(len(y)), y] -= 1
    d /= len(y)
    dh = (d @ p["layers.1.weight"]) * (1 - h**2)
    return {
        "layers.0.bias": dh.sum(axis=0),
        "layers.0.weight": dh.T @ x,
        "layers.1.bias": d.sum(axis=0),
        "layers.1.weight": d.T @ h,
    }


def model(m):
    return {name: m[name] for name in LEAVES}


def descend(m, x, y, moved, steps=STEPS):
    """Parameters after each step; `moved(name, g, step)` is what a step subtracts."""
    p = model(m)
    path = [p]
    for step in range(steps):
        g = gradient(p, x, y)
        p = {name: p[name] - moved(name, g[name], step) for name in LEAVES}
        path.append(p)
    return path


def last_query(path, task):
    return loss(path[-1], *task[2:])


def maml(m, task):
    return last_query(descend(m, *task[:2], lambda _n, g, _k: LR * g), task)


def some(keep):
    def objective(m, task):
        def moved(name, g, _step):
            return LR * g if name.startswith(keep) else 0.0

        return last_query(descend(m, *task[:2], moved), task)

    return objective


def meta_sgd(m, task):
    def moved(name, g, _step):
        return m[f"learned/rate/{name}"] * g

    return last_query(descend(m, *task[:2], moved), task)


def multi_step(weights):
    def objective(m, task):
        def moved(name, g, step):
            return m[f"learned/rate/{step}/{name}"] * g

        path = descend(m, *task[:2], moved)
        losses = [loss(p, *task[2:]) for p in path[1:]]
        return float(np.dot(weights, losses))

    return objective


def meta_curvature(m, task):
    def moved(name, g, _step):
        out = m[f"learned/curvature/0/{name}"] @ g
        if g.ndim == 2:
            out = out @ m[f"learned/curvature/1/{name}"].T
        return LR * out

    return last_query(descend(m, *task[:2], moved), task)


def cavia(m, task):
    weight = m["learned/context/layers.0.bias"]
    phi = np.zeros(weight.shape[1])

    def shifted(phi):
        return model(m) | {"layers.0.bias": m["layers.0.bias"] + weight @ phi}

    for _ in range(STEPS):
        slope = gradient(shifted(phi), *task[:2])["layers.0.bias"]
        phi = phi - LR * (weight.T @ slope)
    return loss(shifted(phi), *task[2:])


def imaml(m, task):
    """At the minimum itself."""
    p = model(m)
    for _ in range(80):
        g = gradient(p, *task[:2])
        p = {k: p[k] - LR * (g[k] + LAMBDA * (p[k] - m[k])) for k in LEAVES}
    return loss(p, *task[2:])


def class_means(m, x, y):
    h = embed(m, x)
    return np.stack([h[y == k].mean(axis=0) for k in range(2)])


def protonet(m, task):
    means = class_means(m, *task[:2])
    distance = ((embed(m, task[2])[:, None] - means[None]) ** 2).sum(axis=2)
    return cross_entropy(-distance, task[3])


def matching(m, task):
    x, y, qx, qy = task
    support, queries = embed(m, x), embed(m, qx)
    support = support / np.linalg.norm(support, axis=1, keepdims=True)
    queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    scores = np.exp(m["learned/scale"] * (queries @ support.T))
    attention = scores / scores.sum(axis=1, keepdims=True)
    per_class = np.stack([attention[:, y == k].sum(axis=1) for k in range(2)], axis=1)
    return -np.mean(np.log(per_class[np.arange(len(qy)), qy]))


def relation(m, task):
    means, queries = class_means(m, *task[:2]), embed(m, task[2])
    weight = np.concatenate(
        [m["learned/relation/class_weight"], m["learned/relation/query_weight"]], axis=1
    )
    pairs = np.stack(
        [np.concatenate([np.tile(c, (len(queries), 1)), queries], 1) for c in means], 1
    )
    hidden = np.maximum(pairs @ weight.T + m["learned/relation/hidden_bias"], 0)
    return cross_entropy(hidden @ m["learned/relation/output_weight"], task[3])


def differences(objective, m, task, nudge=1e-5):
    """Central differences of the objective at m, for every number of every leaf."""
    m = {name: leaf.astype(np.float64) for name, leaf in m.items()}
    slopes = {}
    for name, leaf in m.items():
        slope = np.zeros_like(leaf)
        for place in np.ndindex(leaf.shape):
            ends = []
            for sign in (1, -1):
                moved = leaf.copy()
                moved[place] += sign * nudge
                ends.append(objective(m | {name: moved}, task))
            slope[place] = (ends[0] - ends[1]) / (2 * nudge)
        slopes[name] = slope
    return slopes
