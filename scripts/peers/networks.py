#!/usr/bin/env python3
"""Writes ConvNet's built-in networks as ONNX files for other runtimes: networks.py NAME FILE.

As in the papers and with the names of PyTorch's checkpoints, channels first as these runtimes like it,
the batch left open, batch norm as nodes of its own. Weights are random; what is measured is time.
"""
import sys

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

PARAMETERS = {
    "resnet18": 11_689_512, "resnet34": 21_797_672, "resnet50": 25_557_032,
    "vgg16-bn": 138_365_992, "mobilenet-v2": 3_504_872, "densenet121": 7_978_856}


class Writer:
    """Adds nodes one after another; a value is a name and its number of channels."""

    def __init__(self):
        self.nodes, self.weights, self.learned = [], [], 0
        self.random = numpy.random.default_rng(1)

    def parameter(self, name, values, is_learned=True):
        self.weights.append(numpy_helper.from_array(values.astype(numpy.float32), name))
        self.learned += values.size if is_learned else 0
        return name

    def weight(self, name, *shape):
        bound = numpy.sqrt(6 / numpy.prod(shape[1:]))
        values = self.random.random(shape, dtype=numpy.float32)
        return self.parameter(name, (2 * values - 1) * numpy.float32(bound))

    def row(self, name, count, center, is_learned=True):
        return self.parameter(name, center + self.random.uniform(-0.1, 0.1, count), is_learned)

    def node(self, kind, inputs, channels, name=None, **attributes):
        name = name or f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name, channels

    def convolution(self, x, name, filters, kernel, stride=1, groups=1, bias=False):
        inputs = [x[0], self.weight(f"{name}.weight", filters, x[1] // groups, kernel, kernel)]
        if bias:
            inputs.append(self.row(f"{name}.bias", filters, 0))
        return self.node(
            "Conv", inputs, filters, name, kernel_shape=[kernel] * 2, strides=[stride] * 2,
            pads=[kernel // 2] * 4, group=groups)

    def normalization(self, x, name):
        rows = [
            self.row(f"{name}.weight", x[1], 1), self.row(f"{name}.bias", x[1], 0),
            self.row(f"{name}.running_mean", x[1], 0, False),
            self.row(f"{name}.running_var", x[1], 1, False)]
        return self.node("BatchNormalization", [x[0]] + rows, x[1], name, epsilon=1e-5)

    def relu(self, x):
        return self.node("Relu", [x[0]], x[1])

    def relu6(self, x):
        if not any(weight.name == "six" for weight in self.weights):
            self.parameter("zero", numpy.array(0), False)
            self.parameter("six", numpy.array(6), False)
        return self.node("Clip", [x[0], "zero", "six"], x[1])

    def add(self, x, y):
        return self.node("Add", [x[0], y[0]], x[1])

    def pool(self, x, kind, kernel, stride, padding=0):
        return self.node(
            f"{kind}Pool", [x[0]], x[1], kernel_shape=[kernel] * 2, strides=[stride] * 2,
            pads=[padding] * 4)

    def mean(self, x):
        x = self.node("GlobalAveragePool", [x[0]], x[1])
        return self.node("Flatten", [x[0]], x[1], axis=1)

    def dense(self, x, name, units):
        inputs = [
            x[0], self.weight(f"{name}.weight", units, x[1]), self.row(f"{name}.bias", units, 0)]
        return self.node("Gemm", inputs, units, name, transB=1)

    def unit(self, x, convolution, normalization, filters, kernel, **attributes):
        x = self.convolution(x, convolution, filters, kernel, **attributes)
        return self.normalization(x, normalization)


def resnet(w, x, blocks, is_bottleneck):
    x = w.relu(w.unit(x, "conv1", "bn1", 64, 7, stride=2))
    x = w.pool(x, "Max", 3, 2, 1)
    for stage, count in enumerate(blocks):
        for block in range(count):
            prefix, width = f"layer{stage + 1}.{block}", 64 << stage
            stride = 2 if stage > 0 and block == 0 else 1
            layers = [(width, 3, stride), (width, 3, 1)]
            if is_bottleneck:
                layers = [(width, 1, 1), (width, 3, stride), (4 * width, 1, 1)]
            y = x
            for index, (filters, kernel, step) in enumerate(layers, 1):
                y = w.relu(y) if index > 1 else y
                y = w.unit(
                    y, f"{prefix}.conv{index}", f"{prefix}.bn{index}", filters, kernel, stride=step)
            if x[1] != y[1] or stride > 1:
                x = w.unit(
                    x, f"{prefix}.downsample.0", f"{prefix}.downsample.1", y[1], 1, stride=stride)
            x = w.relu(w.add(y, x))
    return w.dense(w.mean(x), "fc", 1000)


def vgg(w, x):
    index = 0
    for filters in [64, 64, 0, 128, 128, 0] + [256] * 3 + [0] + 2 * ([512] * 3 + [0]):
        if filters == 0:
            x = w.pool(x, "Max", 2, 2)
            index += 1
            continue
        x = w.relu(
            w.unit(x, f"features.{index}", f"features.{index + 1}", filters, 3, bias=True))
        index += 3
    x = w.node("Flatten", [x[0]], 7 * 7 * 512, axis=1)
    x = w.relu(w.dense(x, "classifier.0", 4096))
    x = w.relu(w.dense(x, "classifier.3", 4096))
    return w.dense(x, "classifier.6", 1000)


def mobilenet(w, x):
    x = w.relu6(w.unit(x, "features.0.0", "features.0.1", 32, 3, stride=2))
    index = 1
    for expansion, filters, count, stride in [
            (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
            (6, 160, 3, 2), (6, 320, 1, 1)]:
        for block in range(count):
            prefix, y, part = f"features.{index}.conv", x, 0
            step = stride if block == 0 else 1
            if expansion > 1:
                y = w.relu6(w.unit(y, f"{prefix}.0.0", f"{prefix}.0.1", x[1] * expansion, 1))
                part = 1
            y = w.relu6(w.unit(
                y, f"{prefix}.{part}.0", f"{prefix}.{part}.1", y[1], 3, stride=step, groups=y[1]))
            y = w.unit(y, f"{prefix}.{part + 1}", f"{prefix}.{part + 2}", filters, 1)
            x = w.add(x, y) if step == 1 and x[1] == filters else y
            index += 1
    x = w.relu6(w.unit(x, "features.18.0", "features.18.1", 1280, 1))
    return w.dense(w.mean(x), "classifier.1", 1000)


def densenet(w, x):
    x = w.relu(w.unit(x, "features.conv0", "features.norm0", 64, 7, stride=2))
    x = w.pool(x, "Max", 3, 2, 1)
    for stage, count in enumerate([6, 12, 24, 16], 1):
        for layer in range(1, count + 1):
            prefix, y = f"features.denseblock{stage}.denselayer{layer}", x
            for index, filters, kernel in [(1, 128, 1), (2, 32, 3)]:
                y = w.relu(w.normalization(y, f"{prefix}.norm{index}"))
                y = w.convolution(y, f"{prefix}.conv{index}", filters, kernel)
            x = w.node("Concat", [x[0], y[0]], x[1] + y[1], axis=1)
        if stage < 4:
            prefix = f"features.transition{stage}"
            x = w.relu(w.normalization(x, f"{prefix}.norm"))
            x = w.pool(w.convolution(x, f"{prefix}.conv", x[1] // 2, 1), "Average", 2, 2)
    x = w.relu(w.normalization(x, "features.norm5"))
    return w.dense(w.mean(x), "classifier", 1000)


def main():
    name, path = sys.argv[1:]
    writer, x = Writer(), ("input", 3)
    describe = {
        "resnet18": lambda: resnet(writer, x, [2, 2, 2, 2], False),
        "resnet34": lambda: resnet(writer, x, [3, 4, 6, 3], False),
        "resnet50": lambda: resnet(writer, x, [3, 4, 6, 3], True),
        "vgg16-bn": lambda: vgg(writer, x),
        "mobilenet-v2": lambda: mobilenet(writer, x),
        "densenet121": lambda: densenet(writer, x)}
    if name not in describe:
        sys.exit(f"there is no network {name}; there are: {', '.join(describe)}")
    output = describe[name]()
    if writer.learned != PARAMETERS[name]:
        sys.exit(f"{name} has {writer.learned} parameters, not {PARAMETERS[name]}")
    image = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, "H", "W"])
    logits = helper.make_tensor_value_info(output[0], TensorProto.FLOAT, ["N", 1000])
    graph = helper.make_graph(writer.nodes, name, [image], [logits], writer.weights)
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)


if __name__ == "__main__":
    main()
