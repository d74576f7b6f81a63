"""What the fixtures in this folder were made with: IDE, PCB, MGN, Pyramid and DSA-reID's test-time network in PyTorch.

    python3 make.py FOLDER

Written from the papers' descriptions, layer by layer and branch by branch, with none of the engine's arrangement. Each
file holds weights, a batch, and in float64 the features in evaluation mode, and the losses, gradients and running
statistics of one training step. A case is drawn anew until float32 and float64 take the same side of every kink.
The tests read the files alone; this script needs torch and numpy.
"""
import json
import math
import struct
import sys

import numpy as np
import torch
import torch.nn.functional as F


class Net:
    """Parameters and running statistics by name, drawn at their first use so that no layer is in a trivial state."""

    def __init__(self, seed, tensors=None, dtype=torch.float64):
        self.generator, self.dtype, self.training = torch.Generator().manual_seed(seed), dtype, False
        self.drawn = {} if tensors is None else tensors
        self.used = {}

    def tensor(self, name, shape, draw):
        if name not in self.used:
            if name not in self.drawn:
                self.drawn[name] = draw(torch.randn(shape, generator=self.generator)).float()
            t = self.drawn[name].to(self.dtype, copy=True)
            self.used[name] = t if "running" in name else t.requires_grad_()
        return self.used[name]

    def bias(self, name, out):
        return self.tensor(f"{name}.bias", (out,), lambda r: 0.1 * r)

    def conv(self, name, x, out, kernel=1, stride=1, bias=False):
        shape = (out, x.shape[1], kernel, kernel)
        w = self.tensor(f"{name}.weight", shape, lambda r: r * math.sqrt(2 / (x.shape[1] * kernel ** 2)))
        return F.conv2d(x, w, self.bias(name, out) if bias else None, stride, kernel // 2)

    def linear(self, name, x, out):
        w = self.tensor(f"{name}.weight", (out, x.shape[1]), lambda r: r * math.sqrt(2 / x.shape[1]))
        return F.linear(x, w, self.bias(name, out))

    def norm(self, name, x):
        c = (x.shape[1],)
        mean = self.tensor(f"{name}.running_mean", c, lambda r: 0.1 * r)
        var = self.tensor(f"{name}.running_var", c, lambda r: 0.5 + r.abs())
        gamma = self.tensor(f"{name}.weight", c, lambda r: 0.5 + r.abs() / 2)
        return F.batch_norm(x, mean, var, gamma, self.bias(name, c[0]), self.training, 0.1, 1e-5)

    def block(self, name, x, planes, stride):
        y = F.relu(self.norm(f"{name}.bn1", self.conv(f"{name}.conv1", x, planes)))
        y = F.relu(self.norm(f"{name}.bn2", self.conv(f"{name}.conv2", y, planes, 3, stride)))
        y = self.norm(f"{name}.bn3", self.conv(f"{name}.conv3", y, 4 * planes))
        if stride != 1 or x.shape[1] != 4 * planes:
            x = self.norm(f"{name}.downsample.1", self.conv(f"{name}.downsample.0", x, 4 * planes, 1, stride))
        return F.relu(x + y)

    def stage(self, name, x, c, index, blocks=None, stride=None):
        stride = (1, 2, 2, 1)[index - 1] if stride is None else stride
        for j in range(c["layers"][index - 1]) if blocks is None else blocks:
            x = self.block(f"{name}.layer{index}.{j}", x, c["width"] * 2 ** (index - 1), stride if j == 0 else 1)
        return x

    def trunk(self, x, c, stages):
        x = F.relu(self.norm("backbone.bn1", self.conv("backbone.conv1", x, c["width"], 7, 2)))
        x = F.max_pool2d(x, 3, 2, 1)
        for i in stages:
            x = self.stage("backbone", x, c, i)
        return x

    def reduced(self, k, v, dim, bias=True):
        """1x1 convolution, batch norm and ReLU of branch k, of a pooled vector [N, C]."""
        y = self.conv(f"parts.{k}.conv", v[:, :, None, None], dim, bias=bias)
        return F.relu(self.norm(f"parts.{k}.bn", y)).flatten(1)


def dropout(x, rate, seed):
    """The engine's: element i is dropped where pcg3d(i, seed, stream 0) is below rate * 2^32."""
    with np.errstate(over="ignore"):
        i = np.arange(x.numel(), dtype=np.uint32)
        v = [i, np.full_like(i, seed), np.zeros_like(i)]
        a, b, c = [p * np.uint32(1664525) + np.uint32(1013904223) for p in v]
        a = a + b * c
        b = b + c * a
        c = c + a * b
        a, b, c = [p ^ (p >> np.uint32(16)) for p in (a, b, c)]
        keep = a + b * c >= np.uint32(math.floor(rate * 2 ** 32))
    return x * torch.from_numpy(keep.reshape(x.shape)).to(x.dtype) / (1 - rate)


def batch_hard(h, labels, margin):
    """Hermans et al.: Euclidean distance, the mean over all anchors."""
    total = 0
    for i in range(len(h)):
        d = [(h[i] - h[j]).pow(2).sum().clamp_min(1e-12).sqrt() for j in range(len(h))]
        far = max(d[j] for j in range(len(h)) if j != i and labels[j] == labels[i])
        near = min(d[j] for j in range(len(h)) if labels[j] != labels[i])
        total = total + F.relu(far - near + margin)
    return total / len(h)


def ide(net, x, c, seed):
    v = net.trunk(x, c, (1, 2, 3, 4)).mean((2, 3))
    h = F.leaky_relu(net.norm("bn", net.linear("embedding", v, c["partDim"])), 0.1)
    return h, [net.linear("classifier", dropout(h, 0.5, seed), c["identities"])], []


def pcb(net, x, c, seed):
    stripes = net.trunk(x, c, (1, 2, 3, 4)).chunk(c["parts"], 2)
    hs = [net.reduced(k, s.mean((2, 3)), c["partDim"]) for k, s in enumerate(stripes)]
    return torch.cat(hs, 1), [net.linear(f"parts.{k}.classifier", h, c["identities"]) for k, h in enumerate(hs)], []


def mgn(net, x, c, seed):
    trunk = net.stage("backbone", net.trunk(x, c, (1, 2)), c, 3, [0])
    wholes, stripes = [], []
    for i in range(c["parts"]):
        f = net.stage(f"branches.{i}", trunk, c, 3, range(1, c["layers"][2]))
        f = net.stage(f"branches.{i}", f, c, 4, stride=2 if i == 0 else 1)
        wholes.append(f.amax((2, 3)))
        stripes += [s.amax((2, 3)) for s in f.chunk(i + 1, 2)] if i > 0 else []
    hs = [net.reduced(k, v, c["partDim"], bias=False) for k, v in enumerate(wholes + stripes)]
    scores = [net.linear(f"parts.{k}.classifier", h, c["identities"]) for k, h in enumerate(hs)]
    return torch.cat(hs, 1), scores, hs[:c["parts"]]


def pyramid(net, x, c, seed):
    f = net.trunk(x, c, (1, 2, 3, 4))
    rows, hs = f.shape[2] // c["parts"], []
    for length in range(1, c["parts"] + 1):
        for first in range(c["parts"] - length + 1):
            run = f[:, :, first * rows:(first + length) * rows]
            hs.append(net.reduced(len(hs), run.mean((2, 3)) + run.amax((2, 3)), c["partDim"]))
    h = torch.cat(hs, 1)
    seen = dropout(h, 0.2, seed).split(c["partDim"], 1)
    return h, [net.linear(f"parts.{k}.classifier", v, c["identities"]) for k, v in enumerate(seen)], [h]


def dsa(net, x, c, seed):
    trunk = net.trunk(x, c, (1, 2, 3))
    return torch.cat([net.stage(name, trunk, c, 4).mean((2, 3)) for name in ("backbone", "local")], 1), [], []


MODELS = {"ide": ide, "pcb": pcb, "mgn": mgn, "pyramid": pyramid, "dsa": dsa}
CASES = {
    "ide": {"layers": [1, 2, 1, 1], "width": 2, "imageSize": [50, 30], "partDim": 6},
    "pcb": {"layers": [1, 1, 1, 2], "width": 2, "imageSize": [48, 24], "parts": 3, "partDim": 5},
    "mgn": {"layers": [1, 1, 2, 1], "width": 2, "imageSize": [96, 8], "parts": 3, "partDim": 4, "margin": 1.2},
    "pyramid": {"layers": [1, 1, 1, 1], "width": 2, "imageSize": [64, 24], "parts": 4, "partDim": 4, "margin": 1.4},
    "dsa": {"layers": [1, 1, 1, 2], "width": 2, "imageSize": [40, 24]},
}


def answers(config, drawn, images, labels, seed, dtype):
    model, net = MODELS[config["model"]], Net(0, drawn, dtype)
    images = images.to(dtype)
    with torch.no_grad():
        out = {"eval.features": model(net, images, config, seed)[0]}
    if config["model"] == "dsa":
        return out
    net = Net(0, drawn, dtype)
    net.training = True
    h, scores, judged = model(net, images, config, seed)
    loss = {"id": sum(F.cross_entropy(s, labels) for s in scores)}
    if judged:
        loss["triplet"] = sum(batch_hard(j, labels, config["margin"]) for j in judged)
    loss["total"] = sum(loss.values())
    loss["total"].backward()
    out["train.main"] = h.detach()
    out |= {f"loss.{k}": v.detach().reshape(1) for k, v in loss.items()}
    out |= {f"running.{k}" if "running" in k else f"grad.{k}": t.detach() if "running" in k else t.grad
            for k, t in net.used.items()}
    return out


def distance(a, b, prefix):
    keys = [k for k in a if k.startswith(prefix)]
    off = sum(float((a[k] - b[k].double()).pow(2).sum()) for k in keys)
    return math.sqrt(off / max(sum(float(a[k].pow(2).sum()) for k in keys), 1e-30))


def write(path, tensors, metadata):
    header, chunks, at = {"__metadata__": {k: json.dumps(v) for k, v in metadata.items()}}, [], 0
    for name, t in tensors.items():
        data = t.numpy().astype("<i4" if t.dtype == torch.int64 else "<f4").tobytes()
        kind = "I32" if t.dtype == torch.int64 else "F32"
        header[name] = {"dtype": kind, "shape": list(t.shape), "data_offsets": [at, at + len(data)]}
        chunks.append(data)
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(chunks))


for number, (name, case) in enumerate(CASES.items()):
    config = {"model": name, "identities": 5, **case}
    for seed in range(100 * number, 100 * number + 100):
        g = torch.Generator().manual_seed(seed)
        labels = torch.randperm(5, generator=g)[:2].repeat_interleave(2)
        images = torch.randn(4, 3, *config["imageSize"], generator=g).float()
        first = Net(seed)
        first.training = True  # draws what training needs, the classifiers included
        MODELS[name](first, images.double(), config, seed)
        weights = first.drawn
        exact = answers(config, weights, images, labels, seed, torch.float64)
        single = answers(config, weights, images, labels, seed, torch.float32)
        if distance(exact, single, "grad.") < 1e-5 and distance(exact, single, "eval.") < 1e-5:
            break
    else:
        sys.exit(f"{name}: no draw is away from all kinks")
    tensors = {f"weight.{k}": t for k, t in weights.items()} | {"images": images, "labels": labels}
    # Large weights' gradients would double the files; what flows through them shows in every layer before them.
    inner = ("grad.backbone.layer", "grad.branches")
    small = {k: t for k, t in exact.items() if not k.startswith(inner) or t.numel() <= 24}
    tensors |= {f"expect.{k}": t for k, t in small.items()}
    path = f"{sys.argv[1]}/{name}.safetensors"
    write(path, tensors, {"config": config, "dropoutSeed": seed})
    print(path, f"{sum(t.numel() for t in tensors.values()) * 4 / 1e3:.0f} kB, seed {seed}, float32",
          {p: f"{distance(exact, single, p):.1e}" for p in ("eval", "loss", "grad", "running")})
