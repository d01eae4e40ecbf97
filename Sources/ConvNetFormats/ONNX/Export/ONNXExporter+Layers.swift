import ConvNetGraph

extension ONNXExporter {
  // MARK: Convolution and pooling

  /// A filter `[kh, kw, C/groups, K]` is written as `[K, C/groups, kh, kw]`.
  private func filterAxes(_ value: Graph.ValueID) -> [Int] {
    Array(2..<rank(value)) + [1, 0]
  }

  private func windowAttributes(_ window: Window, input: TensorType? = nil) -> [ONNXAttribute] {
    var attributes = [
      ints("kernel_shape", window.kernel), ints("strides", window.stride),
      ints("dilations", window.dilation),
    ]
    switch input.flatMap({ window.explicitPadding(of: $0) }) ?? window.padding {
    case .valid: break
    case .same: attributes.append(text("auto_pad", "SAME_UPPER"))
    case .sameLower: attributes.append(text("auto_pad", "SAME_LOWER"))
    case .explicit(let before, let after): attributes.append(ints("pads", before + after))
    }
    return attributes
  }

  func emitConvolution(_ convolution: Convolution) throws {
    var inputs = [
      try input(node.inputs[0], as: channelsFirst(node.inputs[0])),
      try input(node.inputs[1], as: filterAxes(node.inputs[1])),
    ]
    if node.inputs.count > 2 { inputs.append(try input(node.inputs[2])) }
    let attributes =
      windowAttributes(convolution.window, input: graph.type(of: node.inputs[0]))
      + [int("group", convolution.groups)]
    finish(emit("Conv", inputs, attributes), axes: channelsFirst(node.outputs[0]))
  }

  func emitTransposedConvolution(_ transposed: TransposedConvolution) throws {
    var inputs = [
      try input(node.inputs[0], as: channelsFirst(node.inputs[0])),
      try input(node.inputs[1], as: filterAxes(node.inputs[1])),
    ]
    if node.inputs.count > 2 { inputs.append(try input(node.inputs[2])) }
    let attributes =
      windowAttributes(transposed.convolution.window)
      + [
        int("group", transposed.convolution.groups),
        ints("output_padding", transposed.outputPadding),
      ]
    finish(emit("ConvTranspose", inputs, attributes), axes: channelsFirst(node.outputs[0]))
  }

  func emitPool(
    _ opType: String, _ window: Window, _ attributes: [ONNXAttribute] = []
  ) throws {
    let x = try input(node.inputs[0], as: channelsFirst(node.inputs[0]))
    let all =
      windowAttributes(window, input: graph.type(of: node.inputs[0])) + attributes + [
        int("ceil_mode", window.roundsUp ? 1 : 0)
      ]
    finish(emit(opType, [x], all), axes: channelsFirst(node.outputs[0]))
  }

  // MARK: Batch normalisation

  /// Moments are part of the normalisation that reads them.
  func checkMoments() throws {
    let readers = graph.nodes.filter { !Set($0.inputs).isDisjoint(with: node.outputs) }
    for reader in readers {
      guard case .normalize = reader.operation, reader.inputs[0] == node.inputs[0],
        node.inputs.count == 1
      else { throw unsupported("ONNX has no operator for batch statistics alone or masked") }
    }
    guard graph.outputs.allSatisfy({ !node.outputs.contains($0.value) }) else {
      throw unsupported("ONNX has no operator for batch statistics alone")
    }
  }

  /// BatchNormalization with the channels in second place.
  func emitNormalize(_ normalize: Normalize) throws {
    let x = node.inputs[0]
    let type = graph.type(of: x)
    let channelAxis = try type.normalizedAxis(normalize.axis)
    guard let channels = type.dimensions[channelAxis].extent, type.rank >= 2, channelAxis > 0 else {
      throw unsupported("ONNX normalises values of known channels, in second place or later")
    }
    let others = (1..<type.rank).filter { $0 != channelAxis }
    var axes = identity(x)
    for (place, axis) in ([0, channelAxis] + others).enumerated() { axes[axis] = place }
    func vector(_ value: Double) -> String {
      constant(Tensor(repeating: Float(value), shape: [channels]), "\(node.name).filled")
    }
    let scale = try normalize.scaleIndex.map { try input(node.inputs[$0]) } ?? vector(1)
    let shift = try normalize.shiftIndex.map { try input(node.inputs[$0]) } ?? vector(0)
    let running = normalize.source == .batch ? self.running(of: node) : nil
    let usesBatch = normalize.source == .batch && running?.source != .running
    let statistics: [String]
    if let running {
      statistics = try [running.mean, running.variance].map { name in
        guard let value = graph.value(named: name) else {
          throw unsupported("the running statistic \(name) is missing")
        }
        return try input(value)
      }
    } else if normalize.source == .batch {
      statistics = [vector(0), vector(1)]
    } else {
      statistics = try node.inputs[1...2].map { try input($0) }
    }
    var attributes = [float("epsilon", normalize.epsilon)]
    if let momentum = running?.decay.momentum { attributes.append(float("momentum", momentum)) }
    if usesBatch { attributes.append(int("training_mode", 1)) }
    let output = uniqueName("\(node.name).out")
    let updated = ["running_mean", "running_var"].map { uniqueName("\(node.name).\($0).updated") }
    append(
      ONNXNode(
        "BatchNormalization", name: uniqueName(node.name),
        inputs: [try input(x, as: axes), scale, shift] + statistics,
        outputs: [output] + (usesBatch ? updated : []), attributes: attributes))
    finish(output, axes: axes)
  }

  /// The running statistics of the layer that a normalisation belongs to.
  private func running(of node: Graph.Node) -> RunningStatistics? {
    producers[node.inputs[1].index].flatMap { graph.nodes[$0].operation.running }
  }

  // MARK: Others

  func emitMatrixMultiply(_ multiply: MatrixMultiply) throws {
    if graph.type(of: node.outputs[0]).rank == 2 {
      let inputs = try node.inputs.map { try input($0) }
      return finish(
        emit(
          "Gemm", inputs,
          [
            int("transA", multiply.transposesLeft ? 1 : 0),
            int("transB", multiply.transposesRight ? 1 : 0),
          ]))
    }
    let turned = [multiply.transposesLeft, multiply.transposesRight]
    var operands = try zip(node.inputs.prefix(2), turned).map { value, isTurned -> String in
      var axes = identity(value)
      if isTurned { axes.swapAt(axes.count - 1, axes.count - 2) }
      return try input(value, as: axes)
    }
    var y = emit("MatMul", operands)
    if node.inputs.count > 2 {
      operands = [y, try input(node.inputs[2])]
      y = emit("Add", operands)
    }
    finish(y)
  }

  func emitSoftmax() throws {
    let place = try place(node.inputs[0])
    guard let last = place.axes.last else { throw unsupported("a softmax of a scalar") }
    finish(emit("Softmax", [place.name], [int("axis", last)]), axes: place.axes)
  }

  func emitDropout(_ dropout: Dropout) throws {
    let place = try place(node.inputs[0])
    let training = constant(1, .bool)
    let y = emit("Dropout", [place.name, constant(dropout.rate), training])
    finish(y, axes: place.axes)
  }

  func emitResize(_ resize: Resize) throws {
    let place = try place(node.inputs[0])
    let axis = try graph.type(of: node.inputs[0]).normalizedAxis(resize.axis)
    var attributes = resize.attributes(self) + [ints("axes", [place.axes[axis]])]
    var region = ""
    if case .crop(let start, let end, let outside) = resize.coordinates {
      region = constant(Tensor([Float(start), Float(end)], shape: [2]), "\(node.name).region")
      attributes.append(float("extrapolation_value", outside))
    }
    var inputs = [place.name, region]
    switch resize.extent {
    case .scale(let scale):
      inputs.append(constant(Tensor([Float(scale)], shape: [1]), "\(node.name).scale"))
    case .size(let size): inputs += ["", constant([size])]
    }
    finish(emit("Resize", inputs, attributes), axes: place.axes)
  }
}

extension Window {
  /// The padding of a channels-last input in numbers, where it does not depend on open extents: other
  /// programs do not take `same` together with a dilation.
  fileprivate func explicitPadding(of input: TensorType) -> Padding? {
    guard padding == .same || padding == .sameLower, input.rank == rank + 2 else { return nil }
    let pads = (0..<rank).map { index -> (before: Int, after: Int)? in
      if let extent = input.dimensions[1 + index].extent {
        return (try? axis(index, input: extent)).map { ($0.before, $0.after) }
      }
      guard stride[index] == 1 else { return nil }
      let total = dilation[index] * (kernel[index] - 1)
      let before = padding == .same ? total / 2 : total - total / 2
      return (before, total - before)
    }.compactMap { $0 }
    guard pads.count == rank else { return nil }
    return .explicit(before: pads.map(\.before), after: pads.map(\.after))
  }
}

extension RunningDecay {
  /// ONNX's momentum, the weight of the old statistics; none where it changes from step to step.
  fileprivate var momentum: Double? {
    switch self {
    case .keepOld(let keep): keep
    case .takeNew(let take): 1 - take
    case .cumulative: nil
    }
  }
}

extension Resize {
  /// Everything but axis, extent and region.
  func attributes(_ exporter: ONNXExporter) -> [ONNXAttribute] {
    var attributes = [
      exporter.text("coordinate_transformation_mode", coordinates.operatorName),
      exporter.int("antialias", antialiases ? 1 : 0),
      exporter.int("exclude_outside", excludesOutside ? 1 : 0),
    ]
    switch interpolation {
    case .nearest(let rounding):
      attributes += [
        exporter.text("mode", "nearest"), exporter.text("nearest_mode", rounding.operatorName),
      ]
    case .linear: attributes.append(exporter.text("mode", "linear"))
    case .cubic(let a):
      attributes += [exporter.text("mode", "cubic"), exporter.float("cubic_coeff_a", a)]
    }
    return attributes
  }
}

extension Resize.Coordinates {
  fileprivate var operatorName: String {
    switch self {
    case .halfPixel: "half_pixel"
    case .pytorchHalfPixel: "pytorch_half_pixel"
    case .halfPixelSymmetric: "half_pixel_symmetric"
    case .tensorFlowHalfPixel: "tf_half_pixel_for_nn"
    case .alignCorners: "align_corners"
    case .asymmetric: "asymmetric"
    case .crop: "tf_crop_and_resize"
    }
  }
}

extension Resize.Rounding {
  fileprivate var operatorName: String {
    switch self {
    case .preferFloor: "round_prefer_floor"
    case .preferCeiling: "round_prefer_ceil"
    case .floor: "floor"
    case .ceiling: "ceil"
    }
  }
}
