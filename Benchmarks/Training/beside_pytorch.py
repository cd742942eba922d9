#!/usr/bin/env python3
"""Times training steps of ResNet-20 in qcc and in eager PyTorch, alternating, on the same number of threads.

    python3 -m venv .venv && .venv/bin/pip install -r requirements.txt       (CPU build of PyTorch; once)
    .venv/bin/python beside_pytorch.py --model resnet20.onnx --data train/ --preprocess p.yaml

Three kinds of step, each forward, backward and the optimizer's update of one batch: float; W4A4 with learned steps
(LSQ, arXiv 1902.08153); an elastic step of three sub-networks (EQ-Net, arXiv 2308.07650). The PyTorch network is the same
ResNet-20 (269.7 k weights, 40.6 M multiplications an image), its quantizers are written as the published code writes them,
memory is channels last, which is PyTorch's faster format here. qcc's steps include reading and augmenting the batch, those
of PyTorch take one batch over and over. Prints the median step of each round's best round as Markdown.
"""
import argparse
import json
import statistics
import subprocess
import tempfile
import time

import torch
from torch import nn
from torch.nn import functional as F


class Round(torch.autograd.Function):
    @staticmethod
    def forward(_, x):
        return x.round()

    @staticmethod
    def backward(_, gradient):
        return gradient


class Quantizer(nn.Module):
    """Learned steps and offsets for every width; `bits` chooses one."""

    def __init__(self, channels, signed):
        super().__init__()
        shape = (channels, 1, 1, 1) if channels > 1 else (1,)
        self.step = nn.ParameterList([nn.Parameter(torch.full(shape, 0.05)) for _ in range(7)])
        self.offset = nn.ParameterList([nn.Parameter(torch.zeros(shape)) for _ in range(7)])
        self.signed, self.bits = signed, 4

    def forward(self, x):
        step, offset = self.step[self.bits - 2].abs(), self.offset[self.bits - 2]
        low = -(2 ** (self.bits - 1)) if self.signed else 0
        high = low + 2 ** self.bits - 1
        scale = 1.0 / (x.numel() * high) ** 0.5
        step = step * scale + (step - step * scale).detach()
        offset = offset * scale + (offset - offset * scale).detach()
        return Round.apply(((x - offset) / step).clamp(low, high)) * step + offset


class Layer(nn.Conv2d):
    def __init__(self, inputs, outputs, stride, quantized):
        super().__init__(inputs, outputs, 3, stride, 1, bias=False)
        self.quantized = quantized
        if quantized:
            self.weights, self.activations = Quantizer(outputs, True), Quantizer(1, False)

    def forward(self, x):
        if not self.quantized:
            return super().forward(x)
        return F.conv2d(self.activations(x), self.weights(self.weight), None, self.stride, self.padding)


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride, quantized):
        super().__init__()
        self.first, self.second = Layer(inputs, outputs, stride, quantized), Layer(outputs, outputs, 1, quantized)
        self.norms = nn.ModuleList([nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)])
        self.pad, self.stride = (outputs - inputs) // 2, stride

    def forward(self, x):
        y = F.relu(self.norms[0](self.first(x)))
        y = self.norms[1](self.second(y))
        if self.stride == 2:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.pad, self.pad))
        return F.relu(x + y)


class ResNet20(nn.Module):
    def __init__(self, quantized):
        super().__init__()
        self.stem, self.norm = Layer(3, 16, 1, quantized), nn.BatchNorm2d(16)
        blocks, inputs = [], 16
        for outputs in (16, 32, 64):
            for index in range(3):
                blocks.append(Block(inputs, outputs, 2 if index == 0 and outputs > 16 else 1, quantized))
                inputs = outputs
        self.blocks, self.last = nn.Sequential(*blocks), nn.Linear(64, 10)

    def forward(self, x):
        return self.last(self.blocks(F.relu(self.norm(self.stem(x)))).mean((2, 3)))


def torch_step(kind, batch):
    torch.manual_seed(0)
    network = ResNet20(kind != "float").to(memory_format=torch.channels_last)
    quantizers = [m for m in network.modules() if isinstance(m, Quantizer)]
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    x = torch.randn(batch, 3, 32, 32).to(memory_format=torch.channels_last)
    labels = torch.randint(10, (batch,))

    def step():
        optimizer.zero_grad()
        teacher = None
        for bits in (8, 4, 2) if kind == "elastic" else (4,):
            for quantizer in quantizers:
                quantizer.bits = bits
            logits = network(x)
            loss = F.cross_entropy(logits, labels)
            if teacher is not None:
                loss = 0.5 * loss + 0.5 * F.kl_div(F.log_softmax(logits, 1), teacher, reduction="batchmean")
            loss.backward()
            teacher = F.softmax(logits.detach(), 1)
        torch.nn.utils.clip_grad_value_(network.parameters(), 1.0)
        optimizer.step()

    return step


def time_torch(kind, batch, steps):
    step = torch_step(kind, batch)
    for _ in range(3):
        step()
    times = []
    for _ in range(steps):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def time_qcc(kind, options, steps):
    flags = {"float": [], "w4a4": ["--bits", "w4a4", "--target", "elastic"], "elastic": ["--elastic", "--target", "elastic"]}
    with tempfile.TemporaryDirectory() as folder:
        command = [
            options.qcc, "train", options.model, "--data", options.data, "--preprocess", options.preprocess, "--samples",
            str(options.batch * 8), "--batch", str(options.batch), "--shard", str(options.batch // 2), "--steps",
            str(steps + 3), "--threads", str(options.threads), "--random-crop", "4", "--random-flip", "--quiet", "--json",
            "-o", folder + "/x.qir"]
        report = json.loads(subprocess.run(command + flags[kind], check=True, capture_output=True).stdout)
    return report["median-step-seconds"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--qcc", default=".build/release/qcc")
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--preprocess", required=True)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"ResNet-20, batch {options.batch}, {options.threads} threads, PyTorch {torch.__version__}; milliseconds a step\n")
    print("| step | qcc | PyTorch | ratio |\n|---|---|---|---|")
    for kind in ("float", "w4a4", "elastic"):
        own, other = [], []
        for _ in range(options.rounds):
            own.append(time_qcc(kind, options, options.steps))
            other.append(time_torch(kind, options.batch, options.steps))
        a, b = min(own) * 1e3, min(other) * 1e3
        print(f"| {kind} | {a:.1f} | {b:.1f} | {b / a:.2f} |", flush=True)


main()
