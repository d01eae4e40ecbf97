"""Runs the backend tests of the onnx package through `convnet run`, and counts."""

import argparse
import fnmatch
import os
import subprocess
import sys
import tempfile
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy
import onnx
import onnx.backend.test as backend_test
from onnx import numpy_helper

warnings.filterwarnings("ignore")

# What the tests of the package itself allow.
RELATIVE, ABSOLUTE = 1e-3, 1e-7
HERE = Path(__file__).parent


def array(value):
    """Tests hold arrays, scalars and messages; anything else is no tensor."""
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    return numpy.asarray(value) if isinstance(value, (numpy.ndarray, numpy.generic)) else value


class Case:
    """A model, and pairs of inputs and outputs, made when they are needed."""

    def __init__(self, kind, name, model, make, tolerances=None):
        self.kind, self.name, self.model, self.make = kind, name, model, make
        self.relative, self.absolute = tolerances or (RELATIVE, ABSOLUTE)

    def data(self):
        for inputs, outputs in self.make():
            yield [array(value) for value in inputs], [array(value) for value in outputs]


def operators(graph):
    found = set()
    for node in graph.node:
        found.add(f"{node.domain}.{node.op_type}" if node.domain else node.op_type)
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                found |= operators(attribute.g)
    return found


def node_cases():
    from onnx.backend.test.case.node import collect_testcases

    for case in collect_testcases(None):
        tolerances = (case.rtol or RELATIVE, case.atol or ABSOLUTE)
        yield Case("node", case.name, case.model, lambda case=case: case.data_sets, tolerances)


def stored(path):
    def load(file, value_info):
        raw = Path(file).read_bytes()
        if not value_info.type.HasField("tensor_type"):
            return None
        return numpy_helper.to_array(onnx.TensorProto.FromString(raw))

    model = onnx.load(path / "model.onnx")
    initializers = {tensor.name for tensor in model.graph.initializer}
    given = [value for value in model.graph.input if value.name not in initializers]

    def data():
        for folder in sorted(path.glob("test_data_set_*")):
            count = len(list(folder.glob("input_*.pb")))
            # A data set may give initialisers, too, where they are inputs.
            names = given if count == len(given) else list(model.graph.input)[:count]
            inputs = [load(folder / f"input_{i}.pb", value) for i, value in enumerate(names)]
            outputs = [
                load(folder / f"output_{i}.pb", value)
                for i, value in enumerate(model.graph.output)
            ]
            yield inputs, outputs

    return model, data


def file_cases(root):
    for kind in ("simple", "pytorch-converted", "pytorch-operator"):
        for path in sorted((root / kind).iterdir()):
            if (path / "model.onnx").exists():
                yield Case(kind, path.name, *stored(path))


def light_cases(root):
    """Networks without weights: constants everywhere, and inputs that count up."""
    for path in sorted((root / "light").glob("*.onnx")):
        model = onnx.load(path)
        initializers = {tensor.name for tensor in model.graph.initializer}

        def data(model=model, path=path, initializers=initializers):
            inputs = []
            for value in model.graph.input:
                if value.name in initializers:
                    continue
                shape = tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
                count = int(numpy.prod(shape))
                inputs.append((numpy.arange(count).reshape(shape) / count).astype(numpy.float32))
            outputs = [
                numpy_helper.to_array(
                    onnx.TensorProto.FromString(
                        path.with_name(f"{path.stem}_output_{i}.pb").read_bytes()
                    )
                )
                for i in range(len(model.graph.output))
            ]
            yield inputs, outputs

        yield Case("light", path.stem, model, data)


def lines(name):
    for line in (HERE / name).read_text().splitlines():
        line = line.split("#", 1)[0].strip()
        if line:
            yield line


def compare(case, name, found, expected):
    if expected.dtype != found.dtype:
        return f"{name} is of {found.dtype}, not {expected.dtype}"
    if expected.shape != found.shape:
        return f"{name} is of shape {found.shape}, not {expected.shape}"
    if not numpy.allclose(found, expected, case.relative, case.absolute, equal_nan=True):
        worst = numpy.nanmax(numpy.abs(found.astype(numpy.float64) - expected))
        return f"{name} differs by up to {worst:.3g}"
    return None


def built_in(case):
    """The model with small inputs, such as shapes and axes, as constants."""
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    inputs, _ = next(iter(case.data()))
    first = 0 if inputs[0].ndim == 0 else 1
    for value, array in list(zip(case.model.graph.input, inputs))[first:]:
        if array.ndim <= 1:
            model.graph.initializer.append(numpy_helper.from_array(array, value.name))
            model.graph.input.remove(value)
    if len(case.model.graph.input) == 1 and inputs[0].dtype == numpy.int64:
        model.graph.initializer.append(
            numpy_helper.from_array(inputs[0], case.model.graph.input[0].name)
        )
        del model.graph.input[0]
    return model


def exported(options, model, case):
    """The model as ConvNet writes it, which ONNX Runtime is to run alike."""
    again = model.with_name("exported.onnx")
    command = [options.convnet, "convert", str(model), str(again)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0 and ("before a run" in done.stderr or "on data" in done.stderr):
        onnx.save(built_in(case), model)
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        text = done.stderr.strip().splitlines() or ["no message"]
        raise RuntimeError("convert: " + text[0].replace(f"{model}: ", ""))
    onnx.checker.check_model(str(again), full_check=True)
    return again


def run_elsewhere(model, case):
    """The outputs of ONNX Runtime for an exported model, compared with what is expected."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        str(model), settings, providers=["CPUExecutionProvider"]
    )
    initializers = {tensor.name for tensor in case.model.graph.initializer}
    wanted = {value.name for value in session.get_inputs()}
    for inputs, outputs in case.data():
        names = [value.name for value in case.model.graph.input]
        if len(inputs) < len(names):
            names = [name for name in names if name not in initializers]
        feed = {name: array for name, array in zip(names, inputs) if name in wanted}
        results = [value.name for value in case.model.graph.output]
        for name, found, expected in zip(results, session.run(results, feed), outputs):
            problem = compare(case, name, found, expected)
            if problem:
                return f"in ONNX Runtime {problem}"
    return None


def run(case, options, folder):
    """The reason for a failure, or None."""
    folder = Path(folder)
    model = folder / "model.onnx"
    onnx.save(case.model, model)
    kept = None
    if options.exported:
        model = exported(options, model, case)
        problem = run_elsewhere(model, case)
        # Two tests ask for sums in one particular order.
        if problem and not run_elsewhere(folder / "model.onnx", case):
            return problem
        kept = {value.name for value in onnx.load(model).graph.input}
    initializers = {tensor.name for tensor in case.model.graph.initializer}
    for inputs, outputs in case.data():
        arguments = [options.convnet, "run", str(model), "--executor", options.executor]
        arguments += ["--kernels", "recommended"]
        names = [value.name for value in case.model.graph.input]
        if len(inputs) < len(names):
            names = [name for name in names if name not in initializers]
        for index, (name, array) in enumerate(zip(names, inputs)):
            if not isinstance(array, numpy.ndarray):
                return "an input is no tensor"
            if kept is not None and name not in kept:
                continue
            numpy.save(folder / f"in{index}.npy", array)
            arguments += ["--input", f"{name}={folder}/in{index}.npy"]
        results = [value.name for value in case.model.graph.output]
        for index, name in enumerate(results):
            arguments += ["--output", f"{name}={folder}/out{index}.npy"]
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=300)
        if done.returncode != 0:
            text = done.stderr.strip().splitlines()
            reason = text[0] if text else "no message"
            return f"exit {done.returncode}: " + reason.replace(f"{model}: ", "")
        for index, (name, expected) in enumerate(zip(results, outputs)):
            found = numpy.load(folder / f"out{index}.npy")
            problem = compare(case, name, found, expected)
            if problem:
                return problem
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pattern", nargs="?", default="*")
    parser.add_argument("--convnet", required=True)
    parser.add_argument("--executor", default="engine")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument(
        "--exported",
        action="store_true",
        help="convert each model to ONNX again first, and run that here and in ONNX Runtime",
    )
    options = parser.parse_args()

    known = set(lines("operators"))
    exclusions = [line.split(None, 1) for line in lines("exclusions")]
    if options.exported:
        exclusions += [line.split(None, 1) for line in lines("exclusions-exported")]
    root = Path(backend_test.__file__).parent / "data"
    cases = [*node_cases(), *file_cases(root), *light_cases(root)]
    chosen, excluded, others = [], [], 0
    for case in cases:
        if not fnmatch.fnmatch(case.name, options.pattern):
            continue
        reason = next((why for name, why in exclusions if fnmatch.fnmatch(case.name, name)), None)
        if not operators(case.model.graph) <= known:
            others += 1
        elif reason:
            excluded.append((case, reason))
        else:
            chosen.append(case)

    def attempt(case):
        with tempfile.TemporaryDirectory(prefix="convnet-onnx-") as folder:
            try:
                return run(case, options, folder)
            except Exception as error:  # a test that cannot be run has failed
                return f"{type(error).__name__}: {error}"

    failures = 0
    counts = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for case, problem in zip(chosen, pool.map(attempt, chosen)):
            passed, total = counts.get(case.kind, (0, 0))
            counts[case.kind] = (passed + (problem is None), total + 1)
            if problem:
                failures += 1
                print(f"FAILED {case.kind} {case.name}: {problem}")
            elif options.verbose:
                print(f"passed {case.kind} {case.name}")
    for kind, (passed, total) in counts.items():
        print(f"{kind}: {passed} of {total} passed")
    reasons = {}
    for _, reason in excluded:
        reasons[reason] = reasons.get(reason, 0) + 1
    for reason, count in sorted(reasons.items(), key=lambda pair: -pair[1]):
        print(f"left out: {count} ({reason})")
    print(f"not counted: {others} tests of other operators")
    print(f"{len(chosen) - failures} passed, {failures} failed, {len(excluded)} skipped")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
