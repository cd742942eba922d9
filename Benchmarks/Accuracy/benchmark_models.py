"""The benchmark models, their data, and readers of the data that share nothing with qcc's."""

import gzip
import json
import os
import pathlib
import tarfile
from dataclasses import dataclass

import numpy as np

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent
DATA = pathlib.Path(os.environ.get("QCC_DATA") or ROOT.parent / "shared" / "data")
SCRATCH = ROOT / ".build" / "peers"


@dataclass
class Model:
    name: str
    preprocess: str
    calibration: str  # what `--data` gets, relative to DATA; `.tar` archives are unpacked first
    test: str

    @property
    def path(self):
        return DATA / "models" / f"{self.name}.onnx"

    @property
    def preprocess_path(self):
        return HERE / "preprocess" / f"{self.preprocess}.yaml"


CIFAR = ("cifar10/train4000.bin", "cifar10/test1000.bin")
CROPS = ("imagenet/crops-even.tar", "imagenet/crops-even.tar")
DIGITS = ("mnist/train-images-idx3-ubyte.gz", "mnist/t10k-images-idx3-ubyte.gz")
CLOTHES = ("fashion-mnist/train5k-images-idx3-ubyte.gz", "fashion-mnist/heldout10k-images-idx3-ubyte.gz")

MODELS = [
    Model("resnet20", "cifar-standardized", *CIFAR),
    Model("resnet20.clean", "cifar-standardized", *CIFAR),
    Model("resnet20-jpegft", "cifar-standardized", *CIFAR),
    Model("resnet56", "cifar-standardized", *CIFAR),
    Model("resnet8-mlperf-tiny", "color-raw", *CIFAR),
    Model("fashion-dscnn", "gray-unit", *CLOTHES),
    Model("mnist-opset8", "gray-raw", *DIGITS),
    Model("mnist-cntk-opset8", "gray-raw", *DIGITS),
    Model("efficientnet-lite0", "color-centered", *CROPS),
]


def chosen(names):
    """The models named, or all of them."""
    unknown = set(names) - {model.name for model in MODELS}
    if unknown:
        raise SystemExit(f"unknown models: {sorted(unknown)}; there are {[model.name for model in MODELS]}")
    if not DATA.is_dir():
        raise SystemExit(f"{DATA} is no folder: set QCC_DATA to the folder of models and data")
    return [model for model in MODELS if not names or model.name in names]


def data_path(name):
    """A path that qcc reads: archives are unpacked, with their labels beside them if there are some."""
    path = DATA / name
    if ".tar" not in path.suffixes:
        return path
    folder = SCRATCH / path.name.split(".")[0]
    if not folder.is_dir():
        folder.mkdir(parents=True)
        with tarfile.open(path) as archive:
            archive.extractall(folder, filter="data")
        labels = path.parent / "labels.tsv"
        if labels.exists():
            (folder / "labels.tsv").write_bytes(labels.read_bytes())
    return next(entry for entry in folder.iterdir() if entry.is_dir())


def read(name):
    """Pixels as uint8 [count, height, width, channels], and class indices."""
    path = data_path(name)
    if path.is_dir():
        from PIL import Image

        if (path.parent / "labels.tsv").exists():
            table = dict(line.split("\t")[:2] for line in (path.parent / "labels.tsv").read_text().splitlines()[1:])
        else:  # a folder for each class
            classes = sorted(entry.name for entry in path.iterdir())
            table = {f"{name}/{file.name}": index for index, name in enumerate(classes) for file in (path / name).iterdir()}
        files = sorted(name for name in table if (path / name).exists())
        images = np.stack([np.asarray(Image.open(path / name).convert("RGB")) for name in files])
        return images, np.array([int(table[name]) for name in files])
    if path.suffix == ".bin":
        records = np.frombuffer(path.read_bytes(), np.uint8).reshape(-1, 3073)
        return records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), records[:, 0].astype(int)
    pixels = gzip.decompress(path.read_bytes())
    labels = gzip.decompress((path.parent / path.name.replace("images-idx3", "labels-idx1")).read_bytes())
    count, height, width = np.frombuffer(pixels, ">u4", 3, 4)
    return np.frombuffer(pixels, np.uint8, -1, 16).reshape(count, height, width, 1), np.frombuffer(labels, np.uint8, -1, 8).astype(int)


def prepare(model, images):
    """The network's input for uint8 images: × scale, − mean, ÷ std, channels first."""
    steps = json.loads(model.preprocess_path.read_text())
    values = (images * np.float64(steps["scale"]) - np.array(steps["mean"])) / np.array(steps["std"])
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2), dtype=np.float32)


def session(path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = os.cpu_count()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run(network, inputs, batch=50):
    """All outputs of a one-input network; batches of one where the network's batch is fixed."""
    node = network.get_inputs()[0]
    size = batch if not isinstance(node.shape[0], int) else node.shape[0]
    return np.concatenate(
        [network.run(None, {node.name: inputs[start : start + size]})[0].reshape(len(inputs[start : start + size]), -1)
         for start in range(0, len(inputs), size)])
