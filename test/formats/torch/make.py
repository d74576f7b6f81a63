"""What the fixtures in this folder were made with: state dicts as torch saves them, and torch's own answers.

    python3 make.py FOLDER

MPN and IDE are modules nested and named as in the published code (models/mpn_no_ca.py, models/base.py and CA_2.py of
WangKan0128/MPN), at a width of 1, so that the names are torch's own and not written down by hand. Files of ramps are for
the reader of files, where every value shows its place; the others hold drawn weights, and answers.pth what the network
with them says of a batch: swapped layers change the answers. The tests read the files alone; this script needs torch.
Old files name their storages by address: made again, they hold the same tensors in other bytes.
"""
import sys
from collections import OrderedDict

import torch
import torch.nn as nn
import torch.nn.functional as F

PARTS, DIM, IDENTITIES = 3, 8, 5


class Bottleneck(nn.Module):
    def __init__(self, channels, planes, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, 4 * planes, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * planes)
        self.downsample = None
        if stride != 1 or channels != 4 * planes:
            convolution = nn.Conv2d(channels, 4 * planes, 1, stride, bias=False)
            self.downsample = nn.Sequential(convolution, nn.BatchNorm2d(4 * planes))

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn3(self.conv3(F.relu(self.bn2(self.conv2(y)))))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """Children in the order of torchvision's, on which MPN's numbers of `base` rest; the last stage keeps its size."""

    def __init__(self, layers, fc):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 1, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(1)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        channels = 1
        for i, (blocks, stride) in enumerate(zip(layers, (1, 2, 2, 1))):
            stage = []
            for j in range(blocks):
                stage.append(Bottleneck(channels, 2 ** i, stride if j == 0 else 1))
                channels = 4 * 2 ** i
            setattr(self, f"layer{i + 1}", nn.Sequential(*stage))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = fc

    def forward(self, x):
        *trunk, fc = self.children()
        return fc(nn.Sequential(*trunk)(x).flatten(1))


class Ide(nn.Module):
    def __init__(self, layers):
        super().__init__()
        head = [nn.Linear(32, DIM), nn.BatchNorm1d(DIM), nn.LeakyReLU(0.1), nn.Dropout(0.5)]
        self.model = ResNet(layers, nn.Sequential(*head))
        self.classifier = nn.Sequential(nn.Linear(DIM, IDENTITIES))

    def answers(self, x):
        features = self.model(x)
        return {"features": features, "scores": self.classifier(features)}


class ConvBlock(nn.Module):
    def __init__(self, channels, out):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(channels, out, 1), nn.BatchNorm2d(out)

    def forward(self, x):
        return self.bn(self.conv(x))


class ChannelAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = ConvBlock(DIM, DIM // 4), ConvBlock(DIM // 4, DIM)


class SoftAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.channel_attn = ChannelAttention()

    def forward(self, x):
        inner = self.channel_attn
        return x * torch.sigmoid(inner.conv2(F.relu(inner.conv1(x))))


class Mpn(nn.Module):
    def __init__(self, layers, attention=False):
        super().__init__()
        each = lambda make: nn.ModuleList(make() for _ in range(PARTS))
        project = lambda channels: nn.Sequential(nn.Conv2d(channels, DIM, 1), nn.BatchNorm2d(DIM), nn.ReLU())
        self.base = nn.Sequential(*list(ResNet(layers, nn.Identity()).children())[:-2])
        self.local_conv_list = each(lambda: project(32))
        self.local_conv_list2 = each(lambda: project(DIM))
        self.Sfc_list = each(lambda: nn.Linear(DIM, IDENTITIES))
        self.Tfc_list = each(lambda: nn.Linear(DIM, IDENTITIES))
        # What the published code calls this list is not known; the test is that its name does not matter.
        self.gates = each(SoftAttention if attention else nn.Identity)

    def task(self, maps, classifiers):
        features = []
        for map, first, gate, second in zip(maps, self.local_conv_list, self.gates, self.local_conv_list2):
            features.append(second(gate(first(map).amax((2, 3), keepdim=True))).flatten(1))
        return torch.cat(features, 1), torch.cat([fc(f) for f, fc in zip(features, classifiers)], 1)

    def answers(self, x):
        f = self.base(x)
        # The "student" sees the whole map and is what the published test runs: the MT. The "teacher" sees stripes: the AT.
        main = self.task([f] * PARTS, self.Sfc_list)
        aux = self.task(f.chunk(PARTS, 2), self.Tfc_list)
        return {"features": main[0], "scores": main[1], "aux_features": aux[0], "aux_scores": aux[1]}


def drawn(net, seed):
    """Draws everything, so that no layer is in a trivial state."""
    g = torch.Generator().manual_seed(seed)
    for name, t in net.state_dict().items():
        if name.endswith("num_batches_tracked"):
            t.fill_(5)
            continue
        r = torch.randn(t.shape, generator=g)
        if name.endswith("running_var") or (t.dim() == 1 and name.endswith("weight")):
            r = 0.5 + r.abs() / 2
        t.copy_(r * (2 / t[0].numel()) ** 0.5 if t.dim() > 1 else r)
    return net.eval()


def ramp(tensors, kind=torch.float32):
    """Tensor k holds (i % 17) / 16 + (k % 50) / 8 at its element i."""
    out = OrderedDict()
    for k, (name, t) in enumerate(tensors.items()):
        values = ((torch.arange(t.numel()) % 17) / 16 + (k % 50) / 8).reshape(t.shape).to(kind)
        out[name] = torch.tensor(5) if name.endswith("num_batches_tracked") else values
    return out


def old(value, path):
    torch.save(value, path, _use_new_zipfile_serialization=False)


folder = sys.argv[1]
with torch.no_grad():
    # The reader of files.
    plain = Mpn([1, 1, 1, 1]).state_dict()
    torch.save(ramp(plain), f"{folder}/official.pth")
    # As DataParallel names them: halves, maps with channels last, and a dictionary around.
    half = ramp({f"module.{name}": t for name, t in plain.items()}, torch.float16)
    half = {n: t.to(memory_format=torch.channels_last) if t.dim() == 4 else t for n, t in half.items()}
    old({"state_dict": half, "epoch": 3, "note": "ramps"}, f"{folder}/official-legacy.pth")
    # torchvision's old files hold parameters; one of these is a view.
    backbone = ramp(ResNet([1, 1, 1, 1], nn.Linear(32, 7)).state_dict())
    backbone["bn1.bias"] = torch.arange(200, dtype=torch.float64)[3:4]
    still = {n: n.endswith("num_batches_tracked") for n in backbone}
    parameters = {n: t if still[n] else nn.Parameter(t, requires_grad=False) for n, t in backbone.items()}
    old(OrderedDict(parameters), f"{folder}/resnet-legacy.pth")

    # The networks.
    images = torch.randn(2, 3, 48, 16, generator=torch.Generator().manual_seed(0))
    answers = OrderedDict(images=images)
    nets = {"mpn": Mpn([1, 2, 1, 1]), "mpn-attention": Mpn([1, 1, 1, 2], True), "ide": Ide([1, 1, 2, 1])}
    for seed, (name, net) in enumerate(nets.items()):
        old(drawn(net, seed + 1).state_dict(), f"{folder}/{name}.pth")
        # The counters are not needed: a state dict without torch's version notes is read as one from before they were.
        bare = {n: t for n, t in net.state_dict().items() if not n.endswith("num_batches_tracked")}
        net.load_state_dict(bare, strict=True)
        for key, values in net.double().answers(images.double()).items():
            answers[f"{name}.{key}"] = values.float()
            print(name, key, values)
    torch.save(answers, f"{folder}/answers.pth")
