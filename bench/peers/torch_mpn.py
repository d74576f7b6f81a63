"""PyTorch, by the protocol of child.mjs: `python3 torch_mpn.py cpu|cuda|autocast`.

MPN without channel attention with the checkpoint's own names. Three kinds of work: `infer` (batch norm folded into the
convolutions), `train` (the step that every peer can do: the loss is the mean of the squared features) and `step` (the whole
training step of the paper: main and auxiliary tasks, identity, triplet and alignment losses, eq. 1 to 10). `memory` counts what a
training step holds.
"""
import base64
import json
import os
import sys
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

MARGIN = 0.2  # alpha of eq. 3


def conv(channels, filters, kernel, stride=1, bias=False):
    return nn.Conv2d(channels, filters, kernel, stride, kernel // 2, bias=bias)


class Block(nn.Module):
    def __init__(self, channels, planes, stride):
        super().__init__()
        self.conv1, self.bn1 = conv(channels, planes, 1), nn.BatchNorm2d(planes)
        self.conv2, self.bn2 = conv(planes, planes, 3, stride), nn.BatchNorm2d(planes)
        self.conv3, self.bn3 = conv(planes, 4 * planes, 1), nn.BatchNorm2d(4 * planes)
        self.downsample = None
        if stride > 1 or channels != 4 * planes:
            self.downsample = nn.Sequential(conv(channels, 4 * planes, 1, stride), nn.BatchNorm2d(4 * planes))

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        y = self.bn3(self.conv3(y))
        return F.relu(y.add_(x if self.downsample is None else self.downsample(x)), inplace=True)


class Backbone(nn.Module):
    def __init__(self, width, layers):
        super().__init__()
        self.conv1, self.bn1 = conv(3, width, 7, 2), nn.BatchNorm2d(width)
        channels = width
        for i, (blocks, stride) in enumerate(zip(layers, (1, 2, 2, 1))):
            planes = width * 2**i
            stage = []
            for j in range(blocks):
                stage.append(Block(channels, planes, stride if j == 0 else 1))
                channels = 4 * planes
            setattr(self, f"layer{i + 1}", nn.Sequential(*stage))

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x)), inplace=True), 3, 2, 1)
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


class Part(nn.Module):
    def __init__(self, channels, dim, identities):
        super().__init__()
        self.conv1, self.bn1 = conv(channels, dim, 1, bias=True), nn.BatchNorm2d(dim)
        self.conv2, self.bn2 = conv(dim, dim, 1, bias=True), nn.BatchNorm2d(dim)
        self.main_classifier, self.aux_classifier = nn.Linear(dim, identities), nn.Linear(dim, identities)

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = torch.amax(y, (2, 3), keepdim=True)
        return F.relu(self.bn2(self.conv2(y)), inplace=True).flatten(1)


class MPN(nn.Module):
    def __init__(self, weights):
        super().__init__()
        count = lambda prefix: len({n[len(prefix) :].split(".")[0] for n in weights if n.startswith(prefix)})
        width = len(weights["backbone.bn1.weight"])
        self.backbone = Backbone(width, [count(f"backbone.layer{i}.") for i in (1, 2, 3, 4)])
        dim = len(weights["parts.0.bn1.weight"])
        identities = len(weights["parts.0.main_classifier.bias"])
        self.parts = nn.ModuleList(Part(32 * width, dim, identities) for _ in range(count("parts.")))
        tensors = {name: torch.from_numpy(value) for name, value in weights.items()}
        missing, unknown = self.load_state_dict(tensors, strict=False)
        if unknown or any(not name.endswith("num_batches_tracked") for name in missing):
            raise ValueError(f"the checkpoint lacks {missing} and has {unknown}")

    def forward(self, images):
        x = self.backbone(images)
        return torch.cat([part(x) for part in self.parts], 1)

    def losses(self, images, mask, roi, labels):
        """The sum of eq. 10; `roi` is the same whole rows and all columns for every image."""
        x = self.backbone(images)
        main = [part(x) for part in self.parts]
        top, _, bottom, _ = (int(v) for v in roi[0])
        seen = F.interpolate((x * mask[:, None])[:, :, top:bottom], x.shape[2:], mode="bilinear", align_corners=False)
        aux = [part(stripe) for part, stripe in zip(self.parts, seen.chunk(len(self.parts), 2))]
        loss = sum(
            F.cross_entropy(part.main_classifier(h), labels) + F.cross_entropy(part.aux_classifier(g), labels)
            for part, h, g in zip(self.parts, main, aux)
        )
        h, g = torch.cat(main, 1), torch.cat(aux, 1)
        return loss + triplet(h, labels) + alignment(h, g, labels)


def triplet(h, labels):
    unit = F.normalize(h)
    distance = 1 - unit @ unit.T
    same = labels[:, None] == labels
    itself = torch.eye(len(labels), dtype=torch.bool, device=h.device)
    farthest = distance.masked_fill(~same | itself, -torch.inf).amax(1)
    nearest = distance.masked_fill(same, torch.inf).amin(1)
    hinge = F.relu(farthest - nearest + MARGIN)
    return hinge.sum() / (hinge > 0).sum().clamp(min=1)


def alignment(h, g, labels):
    member = F.one_hot(labels.unique(return_inverse=True)[1]).T.to(h)
    member = member / member.sum(1, keepdim=True)
    return (1 - F.cosine_similarity(member @ h, member @ g)).mean()


def fold(module):
    """Batch norm folded into the convolution before it, everywhere below a module in evaluation mode."""
    for m in module.modules():
        pairs = [(f"conv{i}", f"bn{i}") for i in (1, 2, 3)] + [("0", "1")]
        for first, second in pairs:
            if isinstance(getattr(m, first, None), nn.Conv2d):
                setattr(m, first, fuse_conv_bn_eval(getattr(m, first), getattr(m, second)))
                setattr(m, second, nn.Identity())
    return module


def read_tensors(path):
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        data = file.read()
    header.pop("__metadata__", None)
    kinds = {"F32": np.float32, "I32": np.int32}
    slices = {name: (e, data[e["data_offsets"][0] : e["data_offsets"][1]]) for name, e in header.items()}
    return {name: np.frombuffer(b, kinds[e["dtype"]]).reshape(e["shape"]).copy() for name, (e, b) in slices.items()}


class System:
    def __init__(self, device):
        self.autocast = device == "autocast"
        self.device = "cpu" if device == "cpu" else "cuda"
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False

    def prepare(self, job):
        if self.device == "cpu":
            torch.set_num_threads(job["threads"])
        else:
            torch.backends.cudnn.benchmark = True
        self.mode, self.losses, self.features = job["mode"], [], None
        model = MPN(read_tensors(job["weights"])).to(self.device)
        inputs = {k: torch.from_numpy(v).to(self.device) for k, v in read_tensors(job["inputs"]).items()}
        inputs["labels"] = inputs["labels"].long()
        self.inputs = inputs
        if self.mode == "infer":
            self.model = fold(model.eval())
        else:
            self.model = model.train()
            if self.mode == "train":
                # What has no gradient is not trained.
                for part in model.parts:
                    del part.main_classifier, part.aux_classifier
            self.optimizer = torch.optim.SGD(
                model.parameters(), job["lr"], momentum=job["momentum"], weight_decay=job["weightDecay"]
            )
            self.scaler = torch.cuda.amp.GradScaler(enabled=self.autocast)
        return {"version": torch.__version__, "adapter": torch.cuda.get_device_name() if self.device == "cuda" else ""}

    def loss(self):
        i = self.inputs
        with torch.autocast(self.device, enabled=self.autocast):
            if self.mode == "train":
                return self.model(i["images"]).float().square().mean()
            return self.model.losses(i["images"], i["mask"], i["roi"], i["labels"])

    def run(self):
        if self.mode == "infer":
            with torch.no_grad(), torch.autocast(self.device, enabled=self.autocast):
                self.features = self.model(self.inputs["images"]).float().cpu().numpy()
            return
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss()
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.losses.append(loss.item())
        if self.device == "cuda":
            torch.cuda.synchronize()

    def result(self):
        if self.mode == "infer":
            return {"features": base64.b64encode(np.ascontiguousarray(self.features, np.float32)).decode()}
        return {"losses": self.losses}

    def memory(self):
        """
        Bytes. `held`: parameters, gradients, momenta, running statistics, inputs, and every storage that autograd saves for the
        backward pass, counted once. `peak`: what is held before the step begins and the most that the step's own
        allocations amount to at once, by torch's allocator.
        """
        if self.device == "cuda":
            return {"gpuBytes": torch.cuda.max_memory_allocated()}
        if self.mode == "infer":
            return {}
        size = lambda tensors: sum(t.numel() * t.element_size() for t in tensors if t is not None)
        parameters = list(self.model.parameters())
        self.run()  # Makes the momenta.
        momenta = [s["momentum_buffer"] for s in self.optimizer.state.values()]
        persistent = parameters + momenta + list(self.model.buffers()) + list(self.inputs.values())
        known = {t.storage().data_ptr() for t in persistent}
        saved = {}

        def pack(t):
            storage = t.storage()
            if storage.data_ptr() not in known:
                # The tensor is kept, so that no other storage takes its address.
                saved[storage.data_ptr()] = (t, storage.nbytes())
            return t

        self.optimizer.zero_grad(set_to_none=True)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            loss = self.loss()
        saved_bytes = sum(nbytes for _, nbytes in saved.values())
        saved.clear()
        loss.backward()
        del loss
        gradients = size(p.grad for p in parameters)
        self.optimizer.zero_grad(set_to_none=True)
        with torch.profiler.profile(profile_memory=True) as profile:
            self.run()
        moments = sorted(
            ((e.start_us(), e.nbytes()) for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"),
            key=lambda event: event[0],
        )
        now = most = 0
        for _, nbytes in moments:
            now += nbytes
            most = max(most, now)
        counted = {
            "parameters": size(parameters),
            "gradients": gradients,
            "momenta": size(momenta),
            "statistics": size(self.model.buffers()),
            "inputs": size(self.inputs.values()),
            "saved": saved_bytes,
        }
        return {**counted, "held": sum(counted.values()), "peak": size(persistent) + most if most else None}


def serve(system):
    with os.fdopen(3, "w") as replies:
        for line in sys.stdin:
            message = json.loads(line)
            try:
                started = time.perf_counter()
                request = message["request"]
                reply = system.prepare(message["job"]) if request == "prepare" else getattr(system, request)()
                if request == "run":
                    reply = {"ms": 1000 * (time.perf_counter() - started)}
            except Exception as error:
                print(repr(error), file=sys.stderr)
                reply = {"error": f"{type(error).__name__}: {error}"}
            print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    serve(System(sys.argv[1]))
