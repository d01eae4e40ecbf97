#!/usr/bin/env python3
"""Training steps of whole networks: ConvNet, PyTorch and TensorFlow, in turns; a Markdown table.

A step is forward, mean cross-entropy, backward, SGD with momentum and the update of running statistics,
in float32 on one random batch of 1000 classes. PyTorch runs in both memory formats, TensorFlow as a
graph without its compiler. Every side has a process of its own, held to as many processors as it may use
threads; peak memory is that process's VmHWM, Python and its modules included where there is Python. Of
each round's median, the median over rounds is reported; the ratio of the shortest steps beside it shows
what a busy machine did to the medians.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

CASES = [("resnet18", 16, 224), ("resnet50", 8, 224), ("resnet18", 64, 32), ("mobilenet-v2", 16, 224)]
PEERS = ["torch channels first", "torch channels last", "tensorflow"]
BASIC, BOTTLENECKS = [2, 2, 2, 2], [3, 4, 6, 3]
INVERTED_RESIDUALS = [
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
    (6, 320, 1, 1)]
RATE, MOMENTUM = 1e-6, 0.9  # as small as ConvNet's own: one batch again and again


def peak_memory():
    """The most bytes that were resident at one time."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


def torch_network(name):
    import torch
    from torch import nn

    def unit(inputs, filters, kernel, stride=1, groups=1, activation=None):
        layers = [
            nn.Conv2d(inputs, filters, kernel, stride, kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(filters)]
        return layers + ([activation(inplace=True)] if activation else [])

    class Sum(nn.Module):
        """A residual beside the identity or a projection, and perhaps a ReLU."""

        def __init__(self, residual, shortcut, activates):
            super().__init__()
            self.residual, self.shortcut = nn.Sequential(*residual), nn.Sequential(*shortcut)
            self.activates = activates

        def forward(self, x):
            y = self.residual(x) + self.shortcut(x)
            return torch.relu_(y) if self.activates else y

    def resnet(counts, bottleneck):
        layers = unit(3, 64, 7, 2, activation=nn.ReLU) + [nn.MaxPool2d(3, 2, 1)]
        inputs = 64
        for stage, count in enumerate(counts):
            filters = 64 << stage
            outputs = 4 * filters if bottleneck else filters
            for block in range(count):
                stride = 2 if stage > 0 and block == 0 else 1
                if bottleneck:
                    residual = (
                        unit(inputs, filters, 1, activation=nn.ReLU)
                        + unit(filters, filters, 3, stride, activation=nn.ReLU)
                        + unit(filters, outputs, 1))
                else:
                    residual = (
                        unit(inputs, filters, 3, stride, activation=nn.ReLU)
                        + unit(filters, filters, 3))
                changes = stride != 1 or inputs != outputs
                shortcut = unit(inputs, outputs, 1, stride) if changes else []
                layers.append(Sum(residual, shortcut, True))
                inputs = outputs
        return layers, inputs

    def mobilenet():
        layers, inputs = unit(3, 32, 3, 2, activation=nn.ReLU6), 32
        for expansion, filters, count, first in INVERTED_RESIDUALS:
            for block in range(count):
                stride, hidden = first if block == 0 else 1, inputs * expansion
                residual = unit(inputs, hidden, 1, activation=nn.ReLU6) if expansion > 1 else []
                residual += unit(hidden, hidden, 3, stride, hidden, activation=nn.ReLU6)
                residual += unit(hidden, filters, 1)
                skips = stride == 1 and inputs == filters
                layers.append(Sum(residual, [], False) if skips else nn.Sequential(*residual))
                inputs = filters
        return layers + unit(inputs, 1280, 1, activation=nn.ReLU6), 1280

    if name == "mobilenet-v2":
        layers, features = mobilenet()
        head = [nn.Dropout(0.2)]
    else:
        layers, features = resnet(*((BOTTLENECKS, True) if name == "resnet50" else (BASIC, False)))
        head = []
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), *head, nn.Linear(features, 1000))


def torch_body(options):
    import torch

    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    last = options.worker == "torch channels last"
    memory = torch.channels_last if last else torch.contiguous_format
    model = torch_network(options.network).to(memory_format=memory).train()
    shape = (options.batch, 3, options.size, options.size)
    images = (torch.rand(shape) * 2 - 1).contiguous(memory_format=memory)
    labels = torch.randint(1000, (options.batch,))
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM)

    def step():
        optimizer.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()

    return step, sum(p.numel() for p in model.parameters())


def keras_network(name, size):
    """Strides of 2 pad as TensorFlow likes it best, at the end; the arithmetic is the same."""
    from keras import Input, Model, layers

    def unit(x, filters, kernel, stride=1, depthwise=False, activation=None):
        if depthwise:
            x = layers.DepthwiseConv2D(kernel, stride, padding="same", use_bias=False)(x)
        else:
            x = layers.Conv2D(filters, kernel, stride, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)
        return layers.ReLU(max_value=activation or None)(x) if activation is not None else x

    def resnet(x, counts, bottleneck):
        x = layers.MaxPooling2D(3, 2, padding="same")(unit(x, 64, 7, 2, activation=0))
        for stage, count in enumerate(counts):
            filters = 64 << stage
            outputs = 4 * filters if bottleneck else filters
            for block in range(count):
                stride = 2 if stage > 0 and block == 0 else 1
                if bottleneck:
                    y = unit(x, filters, 1, activation=0)
                    y = unit(unit(y, filters, 3, stride, activation=0), outputs, 1)
                else:
                    y = unit(unit(x, filters, 3, stride, activation=0), filters, 3)
                if stride != 1 or x.shape[-1] != outputs:
                    x = unit(x, outputs, 1, stride)
                x = layers.ReLU()(layers.Add()([x, y]))
        return layers.GlobalAveragePooling2D()(x)

    def mobilenet(x):
        x = unit(x, 32, 3, 2, activation=6)
        for expansion, filters, count, first in INVERTED_RESIDUALS:
            for block in range(count):
                stride, inputs = first if block == 0 else 1, x.shape[-1]
                y = unit(x, inputs * expansion, 1, activation=6) if expansion > 1 else x
                y = unit(y, None, 3, stride, depthwise=True, activation=6)
                y = unit(y, filters, 1)
                x = layers.Add()([x, y]) if stride == 1 and inputs == filters else y
        x = layers.GlobalAveragePooling2D()(unit(x, 1280, 1, activation=6))
        return layers.Dropout(0.2)(x)

    image = Input((size, size, 3))
    if name == "mobilenet-v2":
        x = mobilenet(image)
    else:
        x = resnet(image, *((BOTTLENECKS, True) if name == "resnet50" else (BASIC, False)))
    return Model(image, layers.Dense(1000)(x))


def tensorflow_body(options):
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.random.set_seed(0)
    model = keras_network(options.network, options.size)
    images = tf.random.uniform((options.batch, options.size, options.size, 3), -1, 1)
    labels = tf.random.uniform((options.batch,), maxval=1000, dtype=tf.int64)
    optimizer = keras.optimizers.SGD(RATE, momentum=MOMENTUM)
    optimizer.build(model.trainable_variables)

    @tf.function(jit_compile=False)
    def step(images, labels):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(
                labels=labels, logits=model(images, training=True)))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables))
        return loss

    count = sum(int(tf.size(v)) for v in model.trainable_variables)
    return lambda: step(images, labels).numpy(), count


def measure(step, seconds):
    """Two steps, or as many as fit into the time."""
    times = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 2:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return {
        "median_ms": statistics.median(times) * 1e3, "min_ms": min(times) * 1e3,
        "resident_bytes": peak_memory()}


def worker(options):
    """Prepares a network, says how many parameters it has, then answers each line, a number of seconds."""
    body = tensorflow_body if options.worker == "tensorflow" else torch_body
    step, parameters = body(options)
    step()
    print(json.dumps({"parameters": parameters}), flush=True)
    for line in sys.stdin:
        print(json.dumps(measure(step, float(line))), flush=True)


class Case:
    """A network, a batch, a size and threads."""

    def __init__(self, options, network, batch, size, threads):
        self.network, self.batch, self.size, self.threads = network, batch, size, threads
        self.convnet = options.convnet

    def arguments(self):
        return ["--network", self.network, "--batch", str(self.batch), "--size", str(self.size)]

    def hold(self):
        """Keeps the calling process on as many processors as it may use threads."""
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:self.threads])

    def start(self, peer):
        environment = dict(
            os.environ, OMP_NUM_THREADS=str(self.threads), MKL_NUM_THREADS=str(self.threads))
        return subprocess.Popen(
            [sys.executable, __file__, "--worker", peer, "--threads", str(self.threads)]
            + self.arguments(),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
            preexec_fn=self.hold)

    def measure_convnet(self, seconds, *flags):
        command = [self.convnet, "bench", "train"] + self.arguments() + [
            "--lanes", str(self.threads), "--kernels", "recommended", "--seconds", str(seconds),
            "--json", *flags]
        return json.loads(subprocess.run(
            command, check=True, capture_output=True, text=True, preexec_fn=self.hold).stdout)

    def ask(self, process, seconds):
        process.stdin.write(f"{seconds}\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    def compare(self, rounds, seconds):
        """Medians and minima in milliseconds, and peak bytes; in each round all take their turn."""
        workers = {}
        for peer in PEERS:  # One after the other, so that nobody warms up while another one does.
            workers[peer] = self.start(peer)
            first = workers[peer].stdout.readline()
            if not first:
                print(f"{peer} cannot train {self.network}; going on without it", file=sys.stderr)
                del workers[peer]
                continue
            parameters = json.loads(first)["parameters"]
        times, shortest, peaks = {}, {}, {}
        for _ in range(rounds):
            answers = {"convnet": self.measure_convnet(seconds)}
            if workers and answers["convnet"]["parameters"] != parameters:
                sys.exit(f"{self.network}: {answers['convnet']['parameters']} parameters here, "
                         f"{parameters} there")
            if self.network == "resnet18":
                answers["plain"] = self.measure_convnet(seconds, "--no-batch-norm")
            for peer, process in workers.items():
                answers[peer] = self.ask(process, seconds)
            for side, answer in answers.items():
                times.setdefault(side, []).append(answer["median_ms"])
                shortest[side] = min(shortest.get(side, answer["min_ms"]), answer["min_ms"])
                peaks[side] = max(peaks.get(side, 0), answer["resident_bytes"])
        for process in workers.values():
            process.stdin.close()
            process.wait()
        medians = {side: statistics.median(values) for side, values in times.items()}
        return medians, shortest, peaks


def row_of(case, times, shortest, peaks):
    def cell(values, side, scale=1):
        return f"{values[side] / scale:.0f}" if side in values else "-"

    peers = [peer for peer in PEERS if peer in times]
    row = [case.network, str(case.batch), str(case.size), str(case.threads)]
    row += [cell(times, side) for side in ["convnet"] + PEERS]
    for ms in [times, shortest]:
        row.append(f"{ms['convnet'] / min(ms[p] for p in peers):.2f}" if peers else "-")
    # The shortest, because a step with and one without are a few per cent apart at most.
    plain = shortest.get("plain")
    row.append(f"{(shortest['convnet'] / plain - 1) * 100:.1f} %" if plain else "-")
    return row + [cell(peaks, side, 2**20) for side in ["convnet"] + PEERS]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--convnet")
    parser.add_argument("--rounds", type=int, help="5, or 2 with --quick")
    parser.add_argument("--quick", action="store_true", help="few rounds, for a first look")
    parser.add_argument("--networks", help="names, with commas between; all by default")
    parser.add_argument("--worker")
    parser.add_argument("--network")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--size", type=int, default=224)
    options = parser.parse_args()
    if options.worker:
        return worker(options)
    rounds = options.rounds or (2 if options.quick else 5)
    names = options.networks.split(",") if options.networks else [case[0] for case in CASES]
    sides = ["convnet"] + PEERS
    header = ["network", "batch", "size", "threads"] + [f"{side} ms" for side in sides]
    header += ["ratio to best peer", "of shortest", "batch norm"] + [f"{s} MiB" for s in sides]
    print("| " + " | ".join(header) + " |")
    print("|" + " --- |" * len(header))
    for network, batch, size in CASES:
        if network not in names:
            continue
        for threads in [1, 2]:
            case = Case(options, network, batch, size, threads)
            row = row_of(case, *case.compare(rounds, 0))
            print("| " + " | ".join(row) + " |", flush=True)
    print(f"\nMedians of {rounds} rounds; float32; peak resident memory of each process. “Batch norm” is "
          "what a step takes longer than one without it.")


if __name__ == "__main__":
    main()
