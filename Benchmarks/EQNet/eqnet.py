#!/usr/bin/env python3
"""One supernet for every quantization form, the search through it, and dedicated training beside it, on CIFAR-10 JPEGs.

    eqnet.py [--epochs N] [--parts supernet,teacher,narrow,predictor,front,normalizations,styles,latency,deployed,dedicated,ablation,fashion] [--pairs 300] [--output FOLDER]

Each part leaves a JSON file in the output folder and is not done again; training goes on from its checkpoint, so an
interrupted run continues when it is started again; other settings need an --output of their own. At the end the tables of RESULTS.md are printed and an SVG of accuracy
against bits is written. QCC_DATA names the folder of models and data, QCC the executable.

supernet   resnet20-jpegft on the 50,000 training images; every uniform width in every style on the 10,000 test images
teacher    ResNet-56 in float on the same images
narrow     the supernet trained on with random sub-networks of 2 to 4 bits on average, the widest learning from the teacher, its weights
           averaged, and the same table
predictor  how well 600 pairs predict, and what a search behind them finds at 3 bits
front      pairs, predictor and searched sub-networks at 2.5 to 6 bits on average, beside uniform ones; at 3 bits also with
           weights and activations within one mean together
normalizations
           the 3-bit sub-networks of `front` and uniform 3 bits in their styles, each with normalizations that eight choices of
           2,048 training images gave it
styles     searches at 3 bits in each granularity and symmetry by itself, beside uniform 3 bits in it
latency    the best sub-network half way between the fastest and the slowest, by times of this processor's kernels
deployed   the best sub-network of 3 bits for x86-int2: its program beside the fake-quantized network, and bit for bit beside the reference
dedicated  W4A4 and W2A2 alone, from the same start
ablation   with and without weight regularization and guidance, three seeds, on a smaller budget; 2 bits, paired
fashion    fashion-dscnn, which is depthwise, at 4 bits, from channels that are equalized first
"""
import argparse
import itertools
import json
import os
import pathlib
import re
import statistics
import subprocess
import tarfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = pathlib.Path(os.environ.get("QCC_DATA", ROOT.parent / "shared" / "data"))
QCC = os.environ.get("QCC", str(ROOT / ".build/release/qcc"))
PREPROCESS = ROOT / "Benchmarks/Accuracy/preprocess"
MODEL = DATA / "models/resnet20-jpegft.onnx"
LARGER = DATA / "models/resnet56.onnx"
AUGMENT = ["--random-crop", "4", "--random-flip"]


def qcc(*arguments, output=None):
    """Runs qcc, messages to the terminal; gives its JSON, kept in `output` once it is there."""
    if output and output.exists():
        return json.loads(output.read_text())
    print("qcc", *arguments, flush=True)
    text = subprocess.run([QCC, *map(str, arguments)], check=True, stdout=subprocess.PIPE).stdout.decode()
    if output:
        output.write_text(text)
    return json.loads(text) if text.startswith("{") else text


def images(folder):
    """The unpacked JPEGs."""
    for name in ("train", "test"):
        if not (folder / name).exists():
            with tarfile.open(DATA / f"cifar10/jpeg-{name}.tar.xz") as archive:
                archive.extractall(folder, filter="data")
    return folder / "train", folder / "test"


class Experiment:
    def __init__(self, options):
        self.options, self.folder = options, options.output
        self.folder.mkdir(parents=True, exist_ok=True)
        self.train, self.test = images(self.folder)
        self.data = ["--data", self.train, "--preprocess", PREPROCESS / "cifar-standardized.yaml"]

    def trained(self, name, *arguments, model=MODEL):
        return qcc(
            "train", model, *self.data, *AUGMENT, "--target", "elastic", "--seed", "1", "--json", "-o",
            self.folder / f"{name}.qir", "--checkpoint", self.folder / f"{name}.checkpoint.safetensors", "--test", self.test, *arguments,
            output=self.folder / f"{name}.json")

    def float_accuracy(self):
        report = qcc("eval", MODEL, "--data", self.test, *self.data[2:], "--json", output=self.folder / "float.json")
        return report["top1"]

    def supernet(self):
        self.table(self.trained(
            "supernet", "--elastic", "--epochs", self.options.epochs, "--learning-rate", "1e-3"))

    def teacher(self):
        """A larger network, trained on in float on the same images."""
        graph = self.folder / "teacher.qir"
        report = qcc("train", LARGER, *self.data, *AUGMENT, "--epochs", "10", "--learning-rate", "1e-3", "--seed", "1", "--test", self.test,
                     "--checkpoint", self.folder / "teacher.checkpoint.safetensors", "--json", "-o", graph, output=self.folder / "teacher.json")
        print(f"\nteacher {report['top1'][0]['top1']:.2f}, {report['steps']} steps, {report['seconds'] / 60:.0f} minutes")
        return graph

    def narrow(self):
        self.supernet()
        share, distill = self.options.narrow_average, self.options.narrow_distill
        averaging = ["--schedule", "constant", "--average", share] if float(share) > 0 else []
        teacher = ["--distill", distill, "--teacher", self.teacher()] if float(distill) > 0 else []
        self.table(self.trained(
            "narrow", "--elastic", "--epochs", self.options.narrow_epochs, "--learning-rate", "1e-3", "--seed", "2", *averaging,
            *teacher, "--avg-bits", "2:4", "--no-narrowest", model=self.folder / "supernet.qir"))

    def table(self, report):
        """Uniform widths in every style, beside float."""
        rows = {row["subnetwork"]: row["top1"] for row in report["top1"]}
        reference = self.float_accuracy()
        styles = sorted({name.split(", ", 1)[1] for name in rows})
        print(f"\nfloat {reference:.2f}; {report['steps']} steps of {report['batch']}, {report['seconds'] / 60:.0f} minutes\n")
        print("| weights and activations | " + " | ".join(styles) + " | mean |\n|---" + "|---" * (len(styles) + 1) + "|")
        for bits in range(8, 1, -1):
            mean = statistics.mean(rows[f"w{bits}a{bits}, {style}"] for style in styles)
            print(f"| {bits} bits | " + " | ".join(f"{rows[f'w{bits}a{bits}, {s}']:.2f} ({rows[f'w{bits}a{bits}, {s}'] - reference:+.2f})" for s in styles) + f" | {mean:.2f} |")

    def search(self):
        return ["search", self.folder / "narrow.qir", *self.data, "--test", self.test, "--pairs", self.options.pairs,
                "--measure-samples", self.options.measure_samples, "--estimate-samples", self.options.estimate_samples, "--json", "--cache", self.folder / "cache"]

    def searched(self, name, bits, *flags, finalists=1):
        return qcc(
            *self.search(), "--target", "elastic", "--rounds", "6", "--test-finalists", finalists, *flags, "-o",
            self.folder / f"{name}-{bits}.assignment.json", output=self.folder / f"{name}-{bits}.json")

    def predictor(self):
        self.narrow()
        report = self.searched("predictor", 3, "--avg-joint-bits", 3, "--pairs", 600, finalists=10)
        mean = statistics.mean(row["tested"] for row in report["found"])
        print(f"\n600 pairs: Pearson {report['pearson']:.3f}, Kendall {report['kendall']:.3f}; 3 bits, both together: "
              f"fidelity {report['found'][0]['fidelity']:.2f}, top-1 {report['found'][0]['tested']:.2f}, mean of ten finalists {mean:.2f}")

    def front(self):
        self.narrow()

        def each(bits):
            return "--avg-bits", bits, "--avg-activation-bits", bits

        ways = {
            "each within the mean": self.searched("search", 3, *each(3), finalists=10),
            "both together": self.searched("joint", 3, "--avg-joint-bits", 3, finalists=10)}
        found = {3: ways["each within the mean"]}
        found |= {bits: self.searched("search", bits, *each(bits)) for bits in (2.5, 4, 5, 6)}
        columns = "weights | activations | M bit operations | fidelity % | top-1 %"
        print(f"\n| 3 bits | {columns} | mean of ten finalists | Pearson | Kendall |\n|" + "---|" * 9)
        for name, report in ways.items():
            mean = statistics.mean(row["tested"] for row in report["found"])
            print(f"| {name} | {self.cells(report['found'][0])} | {mean:.2f} | {report['pearson']:.3f} | {report['kendall']:.3f} |")
        uniform = {round(row["weight-bits"]): row for row in found[3]["uniform"]}
        print(f"\n| mean bits at most | {columns} | uniform: {columns} |\n|" + "---|" * 11)
        for bits in sorted({*uniform, *found}):
            rows = [found[bits]["found"][0] if bits in found else None, uniform.get(bits)]
            print(f"| {bits} | " + " | ".join(self.cells(row) if row else " | " * 4 for row in rows) + " |")
        self.draw(found)

    def normalizations(self, seeds=range(8)):
        self.front()
        best, = (row["style"] for row in self.front_report("joint")["uniform"] if round(row["weight-bits"]) == 3)
        top1 = {}

        def measured(name):
            if name not in top1:
                top1[name] = [self.accuracy(name, seed) for seed in seeds]
            return top1[name]

        def beside(name, uniform):
            gains = [a - b for a, b in zip(measured(name), measured(uniform))]
            return f"{statistics.mean(gains):+.2f} ± {statistics.stdev(gains) / len(gains) ** 0.5:.2f}"

        rows = ["| 3 bits | top-1 % by normalizations | mean | beside uniform in its style | beside uniform of the highest fidelity |", "|" + "---|" * 5]
        for name, way in {"search": "each within the mean", "joint": "both together"}.items():
            own, highest = (self.uniform(name, style) for style in (self.front_report(name)["found"][0]["style"], best))
            cells = beside(f"{name}-3", own), beside(f"{name}-3", highest)
            rows.append(f"| {way} | {self.row(measured(f'{name}-3'))} | {' | '.join(cells)} |")
        for name, values in top1.items():
            if name.startswith("uniform"):
                rows.append(f"| {name.replace('-', ' ')} | {self.row(values)} | | |")
        print("", *rows, sep="\n")

    def styles(self, seeds=range(3)):
        """The same search in each style by itself."""
        self.narrow()
        rows, gains = [], []
        symmetries = "symmetric", "asymmetric"
        for granularity, weights, activations in itertools.product(("channel", "tensor"), symmetries, symmetries):
            style = f"{granularity}, weights {weights}, activations {activations}"
            name = self.slug(style)
            report = self.searched(
                name, 3, "--avg-joint-bits", 3, "--granularity", granularity, "--weight-symmetry", weights, "--activation-symmetry", activations)
            level, = (row for row in report["uniform"] if round(row["weight-bits"]) == 3)
            fidelity = report["found"][0]["fidelity"], level["fidelity"]
            top1 = [statistics.mean(self.accuracy(one, seed) for seed in seeds) for one in (f"{name}-3", self.uniform(name, style))]
            gains.append(top1[0] - top1[1])
            rows.append(f"| {style} | " + " | ".join(f"{value:.2f}" for value in (*fidelity, *top1)) + f" | {gains[-1]:+.2f} |")
        print("\n| 3 bits, both together | fidelity % | uniform | top-1 % | uniform | gain |\n|" + "---|" * 6)
        print(*rows, sep="\n")
        print(f"\nmean gain of the styles {statistics.mean(gains):+.2f} ± {statistics.stdev(gains) / len(gains) ** 0.5:.2f}")

    def front_report(self, name):
        return json.loads((self.folder / f"{name}-3.json").read_text())

    def uniform(self, name, style):
        """3 bits in the place of every width that an assignment chose, in a style such as 'tensor, weights symmetric, activations
        asymmetric'; the name of its assignment."""
        granularity, *symmetries = style.split(", ")
        symmetry = dict(part.split(" ") for part in symmetries)
        pick = json.loads((self.folder / f"{name}-3.assignment.json").read_text())
        for site in pick["sites"]:
            if site.get("score") is None:
                continue
            site["bits"], site["symmetry"] = 3, symmetry[site["role"] + "s"]
            if site["role"] == "weight":
                site["granularity"] = granularity
        uniform = "uniform-3-" + self.slug(style)
        (self.folder / f"{uniform}.assignment.json").write_text(json.dumps(pick))
        return uniform

    @staticmethod
    def slug(style):
        return style.replace(",", "").replace(" ", "-")

    @staticmethod
    def row(values):
        return f"{', '.join(f'{v:.2f}' for v in values)} | {statistics.mean(values):.2f}"

    def accuracy(self, name, seed):
        """Top-1 of an assignment with normalizations measured on the training images that a seed chooses."""
        report, graph = self.folder / f"{name}.normalized-{seed}.json", self.folder / "normalized.qir"
        if not report.exists():
            pipeline = f'assign{{assignment = "{self.folder / name}.assignment.json"}}, estimate-batch-norm'
            qcc("opt", f"--pass-pipeline={pipeline}", self.folder / "narrow.qir", *self.data, "--samples", "2048", "--seed", seed, "-o", graph)
        return qcc("eval", graph, "--data", self.test, *self.data[2:], "--json", output=report)["top1"]

    @staticmethod
    def cells(row):
        return " | ".join([f"{row['weight-bits']:.2f}", f"{row['activation-bits']:.2f}", f"{row['bit-operations'] / 1e6:.0f}",
                           f"{row['fidelity']:.2f}", f"{row['tested']:.2f}"])

    def latency(self):
        self.narrow()
        costs = self.folder / "costs.yaml"
        if not costs.exists():
            qcc("search", MODEL, *self.data, "--samples", "64", "--target", "x86-int2", "--measure-costs", costs)
        search = [*self.search(), "--target", "x86-int2", "--costs", costs, "-o", self.folder / "latency.assignment.json"]
        refusal = subprocess.run([QCC, *map(str, search), "--latency", "1ns"], capture_output=True, text=True).stderr
        least, most = map(float, re.search(r"latency: (\S+) us to (\S+) us", refusal).groups())
        budget = (least + most) / 2
        best = qcc(*search, "--latency", f"{budget:.3f}us", output=self.folder / "latency.json")["found"][0]
        print(f"\nlatency {least:.2f} to {most:.2f} us, at most {budget:.2f}: {best['weight-bits']:.2f} and "
              f"{best['activation-bits']:.2f} bits, top-1 {best['tested']:.2f}")

    def deployed(self):
        """The fake-quantized network and its program, with the same normalizations."""
        self.narrow()
        pick, program, lowered = (self.folder / f"deployed{end}" for end in (".assignment.json", ".qpk", ".qir"))
        report = qcc(*self.search(), "--target", "x86-int2", "--rounds", "6", "--avg-bits", 3, "--avg-activation-bits", 3, "-o", pick,
                     output=self.folder / "deployed.json")
        compiled = qcc("compile", self.folder / "narrow.qir", "--target", "x86-int2", "--assignment", pick, *self.data, "--samples", "2048",
                       "--save-graph", lowered, "-o", program, "--json", output=self.folder / "deployed.program.json")
        top1 = qcc("eval", program, "--data", self.test, "--json", output=self.folder / "deployed.top1.json")["top1"]
        verified = qcc("verify", program, "--graph", lowered, "--data", self.test, "--samples", "100", "--json", output=self.folder / "deployed.verified.json")
        best = report["found"][0]
        print(f"\nx86-int2 at {best['weight-bits']:.2f} and {best['activation-bits']:.2f} bits ({best['style']}): program {top1:.2f}, "
              f"fake-quantized {self.accuracy('deployed', 0):.2f}, with the search's normalizations {best['tested']:.2f}")
        kernels = {kernel["name"]: kernel["identical"] for kernel in verified["kernels"]}
        print(f"{compiled['bytes']} bytes; {verified['tensors']} tensors of {verified['samples']} images as in the reference: {kernels}")

    def draw(self, found):
        import matplotlib
        matplotlib.use("svg")
        matplotlib.rcParams.update({"svg.hashsalt": "qcc", "font.size": 9})
        from matplotlib import pyplot
        figure, axes = pyplot.subplots(figsize=(6, 3.6))
        uniform = sorted((row["joint-bits"], row["tested"]) for row in found[3]["uniform"])
        axes.plot(*zip(*uniform), "o-", label="uniform widths of the supernet")
        points = sorted((report["found"][0]["joint-bits"], report["found"][0]["tested"]) for report in found.values())
        axes.plot(*zip(*points), "s-", label="searched")
        axes.axhline(self.float_accuracy(), linestyle="--", color="gray", label="float")
        axes.set_xlabel("average bits of weights and activations")
        axes.set_ylabel("top-1 %, 10,000 test images")
        axes.legend()
        figure.tight_layout()
        figure.savefig(ROOT / "docs/supernet.svg", metadata={"Date": None})

    def dedicated(self):
        reference = self.float_accuracy()
        print("\n| dedicated | top-1 % | beside float |\n|---|---|---|")
        for bits in ("w4a4", "w2a2"):
            report = self.trained(
                f"dedicated-{bits}", "--bits", bits, "--epochs", self.options.dedicated_epochs, "--learning-rate", "1e-3")
            top1 = report["top1"][0]["top1"]
            print(f"| {bits} | {top1:.2f} | {top1 - reference:+.2f} |")

    def ablation(self):
        variants = {"both": [], "no regularization": ["--no-regularization"], "no guidance": ["--guidance", "0"]}
        means = {}
        for name, flags in variants.items():
            for seed in (1, 2, 3):
                report = self.trained(
                    f"ablation-{name.replace(' ', '-')}-{seed}", "--elastic", "--samples", "10000", "--epochs",
                    self.options.ablation_epochs, "--learning-rate", "1e-3", "--seed", seed, "--test-bits", "2",
                    "--test-samples", "5000", *flags)
                means.setdefault(name, []).append(
                    statistics.mean(row["top1"] for row in report["top1"] if row["subnetwork"].startswith("w2a2")))
        print("\n| supernet | 2 bits, three seeds | mean | paired with both |\n|---|---|---|---|")
        for name, values in means.items():
            pairs = [a - b for a, b in zip(values, means["both"])]
            print(f"| {name} | {', '.join(f'{v:.2f}' for v in values)} | {statistics.mean(values):.2f} | {statistics.mean(pairs):+.2f} |")

    def fashion(self):
        model, folder = DATA / "models/fashion-dscnn.onnx", DATA / "fashion-mnist"
        preprocess = ["--preprocess", PREPROCESS / "gray-unit.yaml"]
        test = folder / "heldout10k-images-idx3-ubyte.gz"
        reference = qcc("eval", model, "--data", test, *preprocess, "--json", output=self.folder / "fashion-float.json")["top1"]
        data = ["--data", folder / "train5k-images-idx3-ubyte.gz", *preprocess]
        equalized = self.folder / "fashion-equalized.qir"
        qcc("opt", "--pass-pipeline=canonical, equalize{by = both}", model, *data, "--samples", "512", "-o", equalized)
        report = qcc(
            "train", equalized, "--bits", "w4a4", "--target", "elastic", *data, "--epochs", "60", "--learning-rate", "1e-3",
            "--distill", "1", "--mixup", "--random-flip", "--random-crop", "1", "--test", test, "--seed", "1", "--json", "-o",
            self.folder / "fashion.qir", output=self.folder / "fashion.json")
        top1 = report["top1"][0]["top1"]
        print(f"\nfashion-dscnn W4A4: {top1:.2f}, float {reference:.2f} ({top1 - reference:+.2f})")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", default="30", help="of the supernet")
    parser.add_argument("--narrow-epochs", default="17", help="behind those, with sub-networks of 2 to 4 bits")
    parser.add_argument("--narrow-average", default=f"{12 / 17:.5f}", help="the share of these whose mean is the supernet; 0: none, and a rate that falls")
    parser.add_argument("--narrow-distill", default="1", help="the teacher's share of what the widest learns from in these; 0: labels alone")
    parser.add_argument("--dedicated-epochs", default="10")
    parser.add_argument("--ablation-epochs", default="3")
    parser.add_argument("--pairs", default="300")
    parser.add_argument("--measure-samples", default="2000", help="training images that a pair is measured on")
    parser.add_argument("--estimate-samples", default="2048", help="other training images, for the normalizations of a pair")
    parser.add_argument("--parts", default="supernet,teacher,narrow,predictor,front,normalizations,styles,latency,deployed,dedicated,ablation,fashion")
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / ".build/eqnet")
    options = parser.parse_args()
    experiment = Experiment(options)
    for part in options.parts.split(","):
        getattr(experiment, part)()


main()
