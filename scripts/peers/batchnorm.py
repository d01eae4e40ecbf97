#!/usr/bin/env python3
"""Batch normalisation of ConvNet, PyTorch and TensorFlow, in turns; a Markdown table.

Peers run their own batch-norm kernels without autograd around them: aten::native_batch_norm and its
backward in both memory formats, FusedBatchNormV3 and FusedBatchNormGradV3. Every framework has a process
of its own per number of threads; of each round's median, the median over rounds is reported.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

SHAPES = [(32, 56, 56, 64), (32, 14, 14, 256), (128, 32, 32, 16), (64, 7, 7, 512), (256, 1, 1, 1024)]
PASSES = ["forward", "backward", "inference"]
OURS = PASSES + ["reductions"]  # what only our own report has


def measure(body, seconds):
    """The median of single runs in milliseconds, after three that don't count."""
    for _ in range(3):
        body()
    times = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 5:
        start = time.perf_counter()
        body()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3


def torch_bodies(shape, threads):
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    n, h, w, c = shape
    scale, shift = torch.rand(c) + 0.5, torch.rand(c)
    mean, variance = torch.zeros(c), torch.ones(c)
    for name, memory in [
        ("torch channels first", torch.contiguous_format),
        ("torch channels last", torch.channels_last),
    ]:
        x = torch.randn(n, c, h, w).contiguous(memory_format=memory)
        dy = torch.randn(n, c, h, w).contiguous(memory_format=memory)
        _, saved_mean, saved_inverse = torch.native_batch_norm(
            x, scale, shift, mean, variance, True, 0.1, 1e-5)
        yield name, {
            "forward": lambda x=x: torch.native_batch_norm(
                x, scale, shift, mean, variance, True, 0.1, 1e-5),
            "backward": lambda x=x, dy=dy, m=saved_mean, i=saved_inverse:
                torch.ops.aten.native_batch_norm_backward(
                    dy, x, scale, mean, variance, m, i, True, 1e-5, [True, True, True]),
            "inference": lambda x=x: torch.native_batch_norm(
                x, scale, shift, mean, variance, False, 0.1, 1e-5),
        }


def tensorflow_bodies(shape, threads):
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    import tensorflow as tf

    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:
        pass  # Set by an earlier shape.
    c = shape[3]
    x, dy = tf.random.normal(shape), tf.random.normal(shape)
    scale, shift = tf.random.uniform([c]) + 0.5, tf.random.uniform([c])
    mean, variance = tf.zeros([c]), tf.ones([c])

    @tf.function
    def forward(x):
        return tf.raw_ops.FusedBatchNormV3(
            x=x, scale=scale, offset=shift, mean=[], variance=[], epsilon=1e-5, is_training=True)

    @tf.function
    def inference(x):
        return tf.raw_ops.FusedBatchNormV3(
            x=x, scale=scale, offset=shift, mean=mean, variance=variance, epsilon=1e-5,
            is_training=False)

    saved = forward(x)

    @tf.function
    def backward(dy, x):
        return tf.raw_ops.FusedBatchNormGradV3(
            y_backprop=dy, x=x, scale=scale, reserve_space_1=saved[3], reserve_space_2=saved[4],
            reserve_space_3=saved[5], epsilon=1e-5, is_training=True)

    def wait(result):
        return result[0][0, 0, 0, 0].numpy()

    yield "tensorflow", {
        "forward": lambda: wait(forward(x)),
        "backward": lambda: wait(backward(dy, x)),
        "inference": lambda: wait(inference(x)),
    }


def worker(framework, threads):
    """Answers requests, one line of JSON each."""
    bodies = torch_bodies if framework == "torch" else tensorflow_bodies
    kept = {}
    for line in sys.stdin:
        request = json.loads(line)
        shape = tuple(request["shape"])
        if shape not in kept:
            kept.clear()
            kept[shape] = list(bodies(shape, threads))
        answer = {
            name: {p: measure(passes[p], request["seconds"]) for p in PASSES}
            for name, passes in kept[shape]
        }
        print(json.dumps(answer), flush=True)


class Worker:
    """Another process of this program that measures one framework on so many threads."""

    def __init__(self, framework, threads):
        environment = dict(os.environ, OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads))
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--worker", framework, "--threads", str(threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)

    def measure(self, shape, seconds):
        self.process.stdin.write(json.dumps({"shape": shape, "seconds": seconds}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        return json.loads(line) if line else None

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def measure_convnet(convnet, shape, lanes, strategy, seconds):
    command = [
        convnet, "bench", "batchnorm", "--shape", ",".join(map(str, shape)), "--lanes", str(lanes),
        "--strategy", strategy, "--kernels", "recommended", "--seconds", str(seconds), "--json"]
    report = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    times = {p: report[p]["median_ms"] for p in OURS}
    limits = {p: report[p]["stream_limit_ms"] for p in OURS}
    return times, limits


def compare(convnet, shape, lanes, workers, rounds, seconds):
    """Medians over rounds by contestant and pass; in each round all take their turn."""
    samples = {}

    def add(name, values):
        for p in values:
            samples.setdefault(name, {}).setdefault(p, []).append(values[p])

    for _ in range(rounds):
        for strategy in ["fused", "blas"]:
            times, limits = measure_convnet(convnet, shape, lanes, strategy, seconds)
            add(strategy, times)
            if strategy == "fused":
                add("limit", limits)
                # Ratios are taken within a round, where both ran in turns.
                add("ratio", {p: times[p] / limits[p] for p in OURS})
            else:
                add("blas ratio", {p: times[p] / limits[p] for p in OURS})
        for peer in workers:
            for name, values in (peer.measure(shape, seconds) or {}).items():
                add(name, values)
    return {
        name: {p: statistics.median(v) for p, v in passes.items()}
        for name, passes in samples.items()
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--convnet")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="short turns, for a first look")
    parser.add_argument("--worker")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    if options.worker:
        return worker(options.worker, options.threads)
    seconds = 0.1 if options.quick else 0.5
    frameworks = ["torch", "tensorflow"]
    peers = ["torch channels first", "torch channels last", "tensorflow"]
    header = ["shape", "lanes", "pass", "fused", "limit", "fused/limit", "blas", "blas/limit"] + peers
    header += ["fused/best torch"]
    print("| " + " | ".join(header) + " |")
    print("|" + " --- |" * len(header))
    for lanes in [1, 2]:
        workers = [Worker(framework, lanes) for framework in frameworks]
        for shape in SHAPES:
            result = compare(options.convnet, shape, lanes, workers, options.rounds, seconds)
            for p in OURS:
                row = [str(shape), str(lanes), p]
                row += [f"{result['fused'][p]:.3f}", f"{result['limit'][p]:.3f}"]
                row += [f"{result['ratio'][p]:.2f}", f"{result['blas'][p]:.3f}"]
                row += [f"{result['blas ratio'][p]:.2f}"]
                peer_times = [result.get(name, {}).get(p) for name in peers]
                row += [f"{t:.3f}" if t else "-" for t in peer_times]
                torch = [t for t in peer_times[:2] if t]
                row += [f"{result['fused'][p] / min(torch):.2f}" if torch else "-"]
                print("| " + " | ".join(row) + " |", flush=True)
        for peer in workers:
            peer.close()
    print("\nMilliseconds, medians of", options.rounds, "rounds; float32.")


if __name__ == "__main__":
    main()
