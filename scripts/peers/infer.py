#!/usr/bin/env python3
"""Whole networks in inference: ConvNet, ONNX Runtime and OpenVINO, in turns; a Markdown table.

The networks of networks.py, float32, batch norm left to the peers to fold. Every side has a process of
its own, held to as many processors as it may use threads; peak memory is that process's VmHWM, Python
and its modules included where there is Python. Of each round's median, the median over rounds is
reported; the ratio of the shortest runs beside it shows what a busy machine did to the medians.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

NETWORKS = ["resnet18", "resnet50", "vgg16-bn", "mobilenet-v2"]
PEERS = ["onnxruntime", "openvino"]


def batches(network):
    return [1, 8] if network.startswith("vgg") else [1, 16]


def peak_memory():
    """The most bytes that were resident at one time."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


def onnxruntime_body(path, batch, threads, size):
    import numpy
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_free_dimension_override_by_name("N", batch)
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    x = numpy.random.default_rng(1).uniform(-1, 1, (batch, 3, size, size)).astype(numpy.float32)
    return lambda: session.run(None, {"input": x})


def openvino_body(path, batch, threads, size):
    import numpy
    import openvino

    core = openvino.Core()
    model = core.read_model(path)
    model.reshape([batch, 3, size, size])
    compiled = core.compile_model(model, "CPU", {
        "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": "f32"})
    request = compiled.create_infer_request()
    x = numpy.random.default_rng(1).uniform(-1, 1, (batch, 3, size, size)).astype(numpy.float32)
    request.set_input_tensor(openvino.Tensor(x))
    return request.infer


def worker(options):
    """Loads a model, then answers each line, a number of seconds, by a line of JSON."""
    make = {"onnxruntime": onnxruntime_body, "openvino": openvino_body}[options.worker]
    body = make(options.model, options.batch, options.threads, options.size)
    for _ in range(3):
        body()
    for line in sys.stdin:
        times = []
        end = time.perf_counter() + float(line)
        while time.perf_counter() < end or len(times) < 5:
            start = time.perf_counter()
            body()
            times.append(time.perf_counter() - start)
        answer = {
            "median_ms": statistics.median(times) * 1e3, "min_ms": min(times) * 1e3,
            "resident_bytes": peak_memory()}
        print(json.dumps(answer), flush=True)


class Case:
    """A network, threads and a batch."""

    def __init__(self, options, network, threads, batch):
        self.network, self.threads, self.batch = network, threads, batch
        self.model = os.path.join(options.models, f"{network}.onnx")
        self.convnet, self.size = options.convnet, options.size

    def environment(self):
        return dict(
            os.environ, OMP_NUM_THREADS=str(self.threads), MKL_NUM_THREADS=str(self.threads))

    def hold(self):
        """Keeps the calling process on as many processors as it may use threads."""
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:self.threads])

    def start(self, peer):
        return subprocess.Popen(
            [sys.executable, __file__, "--worker", peer, "--threads", str(self.threads), "--batch",
             str(self.batch), "--model", self.model, "--size", str(self.size)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=self.environment(),
            preexec_fn=self.hold)

    def measure_convnet(self, seconds):
        command = [
            self.convnet, "bench", "infer", "--network", self.network, "--batch", str(self.batch),
            "--size", str(self.size), "--lanes", str(self.threads), "--kernels", "recommended",
            "--seconds", str(seconds), "--json"]
        return json.loads(subprocess.run(
            command, check=True, capture_output=True, text=True, preexec_fn=self.hold).stdout)

    def compare(self, rounds, seconds):
        """Medians and minima in milliseconds, and peak bytes; in each round all take their turn."""
        workers = {peer: self.start(peer) for peer in PEERS}
        times, shortest, peaks = {}, {}, {}
        for _ in range(rounds):
            answers = {"convnet": self.measure_convnet(seconds)}
            for peer, process in workers.items():
                process.stdin.write(f"{seconds}\n")
                process.stdin.flush()
                answers[peer] = json.loads(process.stdout.readline())
            for side, answer in answers.items():
                times.setdefault(side, []).append(answer["median_ms"])
                shortest[side] = min(shortest.get(side, answer["min_ms"]), answer["min_ms"])
                peaks[side] = max(peaks.get(side, 0), answer["resident_bytes"])
        for process in workers.values():
            process.stdin.close()
            process.wait()
        medians = {side: statistics.median(values) for side, values in times.items()}
        return medians, shortest, peaks


def write_models(options, networks):
    os.makedirs(options.models, exist_ok=True)
    writer = os.path.join(os.path.dirname(os.path.abspath(__file__)), "networks.py")
    for network in networks:
        path = os.path.join(options.models, f"{network}.onnx")
        if not os.path.exists(path) or os.path.getmtime(path) < os.path.getmtime(writer):
            print(f"writing {path}", file=sys.stderr)
            subprocess.run([sys.executable, writer, network, path], check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--convnet")
    parser.add_argument("--models", default=".build/peer-models", help="where ONNX files are kept")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="short turns, for a first look")
    parser.add_argument("--networks", default=",".join(NETWORKS), help="names, with commas between")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--worker")
    parser.add_argument("--model")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=1)
    options = parser.parse_args()
    if options.worker:
        return worker(options)
    networks = options.networks.split(",")
    write_models(options, networks)
    seconds = 0.3 if options.quick else 1.5
    sides = ["convnet"] + PEERS
    header = ["network", "threads", "batch"] + [f"{side} ms" for side in sides]
    header += ["ratio to best peer", "of shortest"] + [f"{side} MiB" for side in sides]
    print("| " + " | ".join(header) + " |")
    print("|" + " --- |" * len(header))
    medians = {}
    for network in networks:
        for batch in batches(network):
            for threads in [1, 2]:
                case = Case(options, network, threads, batch)
                times, shortest, peaks = case.compare(options.rounds, seconds)
                medians[network, batch, threads] = times["convnet"]
                row = [network, str(threads), str(batch)]
                row += [f"{times[side]:.2f}" for side in sides]
                for ms in [times, shortest]:
                    row.append(f"{ms['convnet'] / min(ms[peer] for peer in PEERS):.2f}")
                row += [f"{peaks[side] / 2**20:.0f}" for side in sides]
                print("| " + " | ".join(row) + " |", flush=True)
    print(f"\nMedians of {options.rounds} rounds; float32; peak resident memory of each process.")
    for network in networks:
        batch = batches(network)[-1]
        gain = medians[network, batch, 1] / medians[network, batch, 2]
        print(f"{network}, batch {batch}: two lanes are {gain:.2f} times as fast as one.")


if __name__ == "__main__":
    main()
