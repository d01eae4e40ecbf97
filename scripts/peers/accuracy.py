#!/usr/bin/env python3
"""Whole trainings on Fashion-MNIST: ConvNet and PyTorch, seed by seed in turns; a Markdown table.

Both sides train the same network by the same recipe: initial distribution, order of magnitude of every
step, augmentation, schedule, weight decay, batches, epochs. PyTorch runs in the memory format in which a few
steps on this machine were faster. Seconds are those of training steps, augmentation included; what
is not counted, on either side, is reading the files and measuring the accuracy, on the 10 000 test images,
after each epoch. The time to an accuracy ends with the first epoch that reaches it.
"""
import argparse
import gzip
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import time

TARGETS = [92, 93, 94]
BATCH, WARM_UP, MOMENTUM, DECAY = 128, 200, 0.9, 5e-4
# Of each network and recipe: epochs, largest rate, label smoothing, largest shift; all mirror.
RECIPES = {
    ("fashion-resnet", "best"): (14, 0.1, 0.1, 2),
    ("fashion-resnet", "fast"): (2, 0.1, 0.0, 0),
    ("fashion", "best"): (14, 0.1, 0.1, 2),
    ("fashion", "fast"): (6, 0.1, 0.0, 0),
}


def torch_network(name):
    from torch import nn

    def unit(inputs, filters, stride=1, pools=False):
        convolution = nn.Conv2d(inputs, filters, 3, stride, 1, bias=False)
        pool = [nn.MaxPool2d(2)] if pools else []
        return [convolution, *pool, nn.BatchNorm2d(filters), nn.ReLU(inplace=True)]

    class Residual(nn.Module):
        """Two convolutions beside the identity."""

        def __init__(self, filters):
            super().__init__()
            self.residual = nn.Sequential(*unit(filters, filters), *unit(filters, filters))

        def forward(self, x):
            return x + self.residual(x)

    if name == "fashion":
        # ConvNet pads an even image at its end where the stride is 2, PyTorch at its beginning.
        layers = unit(1, 16) + unit(16, 32, 2) + unit(32, 32) + unit(32, 64, 2) + unit(64, 64)
        features = 64 * 49
    else:
        layers, inputs = unit(1, 16), 16
        for filters in [48, 96, 192]:
            layers += unit(inputs, filters, pools=True) + [Residual(filters)]
            inputs = filters
        layers, features = layers + [nn.MaxPool2d(3)], inputs
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(features, 10))
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
    return model


class FashionMNIST:
    """The images and labels of one part as tensors, and batches of them."""

    def __init__(self, folder, part, shift=0):
        import torch

        def read(name, header):
            with gzip.open(folder / f"{part}-{name}-ubyte.gz") as file:
                return torch.frombuffer(bytearray(file.read()[header:]), dtype=torch.uint8)

        self.labels = read("labels-idx1", 8).long()
        images = read("images-idx3", 16).view(-1, 28, 28)
        pixels = images.float()
        self.mean, self.deviation = pixels.mean(), pixels.std(correction=0)
        self.shift = shift
        self.images = torch.nn.functional.pad(images, [shift] * 4)

    def batch(self, samples, mirrors=False):
        """Normalised images, mirrored and shifted at random where they are to be."""
        import torch

        count = len(samples)
        steps = torch.arange(28)
        rows, columns = steps.expand(count, 28), steps.expand(count, 28)
        if mirrors:
            mirrored = torch.rand(count, 1) < 0.5
            columns = torch.where(mirrored, columns.flip(1), columns)
        if self.shift:
            offsets = torch.randint(2 * self.shift + 1, (2, count, 1))
            rows, columns = rows + offsets[0], columns + offsets[1]
        pixels = self.images[samples[:, None, None], rows[:, :, None], columns[:, None, :]]
        return ((pixels.float() - self.mean) / self.deviation)[:, None], self.labels[samples]


class TorchTraining:
    """A network, its optimiser and its schedule in one memory format."""

    def __init__(self, options, memory, steps):
        import torch

        torch.manual_seed(options.seed)
        self.memory, self.steps = memory, steps
        _, self.rate, self.smoothing, _ = RECIPES[options.network, options.recipe]
        self.model = torch_network(options.network).to(memory_format=memory)
        decayed = [p for p in self.model.parameters() if p.dim() > 1]
        others = [p for p in self.model.parameters() if p.dim() == 1]
        self.optimizer = torch.optim.SGD(
            [{"params": decayed, "weight_decay": DECAY}, {"params": others}],
            lr=self.rate, momentum=MOMENTUM, nesterov=True)

    def factor(self, step):
        """Up along a line, then down along half a cosine."""
        if step < WARM_UP:
            return (step + 1) / WARM_UP
        return (1 + math.cos(math.pi * (step - WARM_UP) / (self.steps - WARM_UP))) / 2

    def step(self, number, images, labels):
        import torch

        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * self.factor(number)
        self.optimizer.zero_grad(set_to_none=True)
        logits = self.model(images.contiguous(memory_format=self.memory))
        torch.nn.functional.cross_entropy(
            logits, labels, label_smoothing=self.smoothing).backward()
        self.optimizer.step()

    def accuracy(self, data):
        import torch

        self.model.eval()
        right = 0
        with torch.inference_mode():
            for samples in torch.arange(len(data.labels)).split(500):
                images, labels = data.batch(samples)
                logits = self.model(images.contiguous(memory_format=self.memory))
                right += int((logits.argmax(1) == labels).sum())
        self.model.train()
        return right / len(data.labels)


def faster_format(options, data, steps):
    """The memory format whose shortest of a few steps was shorter."""
    import torch

    def shortest(memory):
        training = TorchTraining(options, memory, steps)
        images, labels = data.batch(torch.arange(BATCH))
        times = []
        for _ in range(8):
            start = time.perf_counter()
            training.step(0, images, labels)
            times.append(time.perf_counter() - start)
        return min(times)

    return min([torch.contiguous_format, torch.channels_last], key=shortest)


def torch_worker(options):
    """Trains; a line of JSON for each epoch, then one with the number of parameters."""
    import torch

    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    epochs, _, _, shift = RECIPES[options.network, options.recipe]
    training_data = FashionMNIST(options.data, "train", shift)
    test_data = FashionMNIST(options.data, "t10k")
    # Normalised as the training images are.
    test_data.mean, test_data.deviation = training_data.mean, training_data.deviation
    per_epoch = len(training_data.labels) // BATCH
    memory = faster_format(options, training_data, epochs * per_epoch)
    training = TorchTraining(options, memory, epochs * per_epoch)
    seconds, number = 0, 0
    for _ in range(epochs):
        start = time.perf_counter()
        order = torch.randperm(len(training_data.labels))
        for samples in order[:per_epoch * BATCH].split(BATCH):
            training.step(number, *training_data.batch(samples, mirrors=True))
            number += 1
        seconds += time.perf_counter() - start
        point = {"seconds": seconds, "accuracy": training.accuracy(test_data)}
        print(json.dumps(point), flush=True)
    count = sum(p.numel() for p in training.model.parameters())
    print(json.dumps({"parameters": count, "memory": str(memory)}), flush=True)


def run_torch(options, seed):
    """The curve, and what the last line says."""
    environment = dict(
        os.environ, OMP_NUM_THREADS=str(options.threads), MKL_NUM_THREADS=str(options.threads))
    command = [
        sys.executable, __file__, "--worker", "--network", options.network, "--recipe",
        options.recipe, "--seed", str(seed), "--threads", str(options.threads), "--data",
        str(options.data)]
    lines = lines_of(command, options, environment)
    return lines[:-1], lines[-1]


def run_convnet(options, seed):
    command = [
        options.convnet, "train", "--data", str(options.data), "--network", options.network,
        "--recipe", options.recipe, "--seed", str(seed), "--lanes", str(options.threads),
        "--kernels", "recommended", "--json"]
    lines = lines_of(command, options, None)
    curve, seconds = [], 0
    for point in lines[:-1]:
        seconds += 60_000 // BATCH * BATCH / point["images_per_second"]
        curve.append({"seconds": seconds, "accuracy": point["validation_accuracy"]})
    return curve, lines[-1]


def lines_of(command, options, environment):
    """What a command prints, held to as many processors as it may use threads."""
    def hold():
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:options.threads])

    text = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env=environment,
        preexec_fn=hold).stdout
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def time_to(curve, percent):
    """Seconds until the end of the first epoch that reaches an accuracy; None where none does."""
    return next((p["seconds"] for p in curve if p["accuracy"] >= percent / 100), None)


def mean_time(curves, percent):
    times = [time_to(curve, percent) for curve in curves]
    return None if None in times else statistics.mean(times)


def row_of(name, curves):
    finals = [100 * curve[-1]["accuracy"] for curve in curves]
    each = ", ".join(f"{final:.2f}" for final in finals)
    times = [mean_time(curves, target) for target in TARGETS]
    cells = [f"{statistics.mean(finals):.2f} % ({each})"]
    cells.append(f"{statistics.mean(curve[-1]['seconds'] for curve in curves):.0f} s")
    cells += ["-" if t is None else f"{t:.0f} s" for t in times]
    return f"| {name} | " + " | ".join(cells) + " |"


def show_curves(curves):
    """Mean accuracy and seconds after each epoch, side by side."""
    names = list(curves)
    print("| epoch | " + " | ".join(f"{n} s | {n} accuracy" for n in names) + " |")
    print("|" + " --- |" * (2 * len(names) + 1))
    for epoch in range(len(curves[names[0]][0])):
        cells = []
        for name in names:
            points = [curve[epoch] for curve in curves[name]]
            cells.append(f"{statistics.mean(p['seconds'] for p in points):.0f}")
            cells.append(f"{100 * statistics.mean(p['accuracy'] for p in points):.2f} %")
        print(f"| {epoch + 1} | " + " | ".join(cells) + " |")


def report(options, curves):
    seeds = ", ".join(str(seed) for seed in options.seeds)
    header = ["", "test accuracy", "training"] + [f"to {target} %" for target in TARGETS]
    print(f"`--network {options.network} --recipe {options.recipe}`, seeds {seeds}, "
          f"{options.threads} threads:\n")
    print("| " + " | ".join(header) + " |")
    print("|" + " --- |" * len(header))
    for name, runs in curves.items():
        print(row_of(name, runs))
    if len(curves) == 2:
        cells = []
        for target in TARGETS:
            ours, theirs = (mean_time(curves[n], target) for n in ["ConvNet", "PyTorch"])
            cells.append(f"{ours / theirs:.2f}" if ours and theirs else "-")
        whole = [statistics.mean(run[-1]["seconds"] for run in curves[n])
                 for n in ["ConvNet", "PyTorch"]]
        print(f"| ratio of times | | {whole[0] / whole[1]:.2f} | " + " | ".join(cells) + " |")
    print()
    show_curves(curves)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--convnet")
    parser.add_argument("--network", default="fashion-resnet")
    parser.add_argument("--recipe", default="best")
    parser.add_argument("--seeds", type=lambda text: [int(s) for s in text.split(",")],
                        default=[1, 2, 3], help="numbers with commas between; 1,2,3 by default")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--only", choices=["convnet", "torch"], help="one side alone")
    parser.add_argument("--data", type=pathlib.Path,
                        default=pathlib.Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument("--worker", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if (options.network, options.recipe) not in RECIPES:
        known = ", ".join(" ".join(key) for key in RECIPES)
        sys.exit(f"no recipe “{options.recipe}” of “{options.network}” here; there are: {known}")
    if options.worker:
        return torch_worker(options)
    sides = {"ConvNet": run_convnet, "PyTorch": run_torch}
    if options.only:
        kept = "ConvNet" if options.only == "convnet" else "PyTorch"
        sides = {kept: sides[kept]}
    curves, parameters = {name: [] for name in sides}, set()
    for seed in options.seeds:
        for name, run in sides.items():
            curve, result = run(options, seed)
            curves[name].append(curve)
            parameters.add(result["parameters"])
            print(f"seed {seed}, {name}: {100 * curve[-1]['accuracy']:.2f} % after "
                  f"{curve[-1]['seconds']:.0f} s", file=sys.stderr, flush=True)
    if len(parameters) > 1:
        sys.exit(f"not the same network: {sorted(parameters)} parameters")
    report(options, curves)


if __name__ == "__main__":
    main()
