import ConvNetGraph

extension ONNXExporter {
  func emitReduce(_ reduce: Reduce) throws {
    let place = try place(node.inputs[0])
    let reduced = try reduce.normalizedAxes(of: graph.type(of: node.inputs[0]))
    let name =
      switch reduce.reduction {
      case .sum: "ReduceSum"
      case .mean: "ReduceMean"
      case .maximum: "ReduceMax"
      case .minimum: "ReduceMin"
      }
    guard !reduced.isEmpty else { return finish(place.name, axes: place.axes) }
    let positions = reduced.map { place.axes[$0] }.sorted()
    let isGlobal =
      reduce.keepsAxes && place.axes.count > 2
      && positions == Array(2..<place.axes.count)
    if isGlobal, reduce.reduction == .mean || reduce.reduction == .maximum {
      let name = reduce.reduction == .mean ? "GlobalAveragePool" : "GlobalMaxPool"
      return finish(emit(name, [place.name]), axes: place.axes)
    }
    let y = emit(
      name, [place.name, constant(positions)],
      [int("keepdims", reduce.keepsAxes ? 1 : 0)])
    guard !reduce.keepsAxes else { return finish(y, axes: place.axes) }
    // What is left keeps the order it has in the tensor.
    let kept = place.axes.indices.filter { !reduced.contains($0) }.map { place.axes[$0] }
    let order = kept.sorted()
    finish(y, axes: kept.compactMap { order.firstIndex(of: $0) })
  }

  func emitFill(_ value: Double) throws {
    let place = try place(node.inputs[0])
    let extents = emit("Shape", [place.name])
    finish(filled(extents, Constant(numbers: [value], shape: [1])), axes: place.axes)
  }

  private func filled(_ extents: String, _ value: Constant) -> String {
    var value = value
    value.shape = [1]
    return emit(
      "ConstantOfShape", [extents],
      [ONNXAttribute("value", .tensor(ONNXTensor("", value.tensor)))])
  }

  func emitConcatenate(_ concatenate: Concatenate) throws {
    let axis = try graph.type(of: node.outputs[0]).normalizedAxis(concatenate.axis)
    let axes =
      node.inputs.first { !isStored($0) }.map { self.axes(of: $0) }
      ?? identity(node.outputs[0])
    let operands = try node.inputs.map { try input($0, as: axes) }
    finish(emit("Concat", operands, [int("axis", axes[axis])]), axes: axes)
  }

  func emitSlice(_ slice: Slice) throws {
    let place = try place(node.inputs[0])
    let axis = try graph.type(of: node.inputs[0]).normalizedAxis(slice.axis)
    // Walking down, an end of −1 is before the first element; ONNX would count it from the back.
    let end = slice.step < 0 && slice.end < 0 ? Int(Int32.min) : slice.end
    let numbers = [slice.start, end, place.axes[axis], slice.step]
    finish(
      emit("Slice", [place.name] + numbers.map { constant([$0]) }), axes: place.axes)
  }

  func emitPad(_ pad: Pad) throws {
    let place = try place(node.inputs[0])
    let rank = place.axes.count
    var pads = [Int](repeating: 0, count: 2 * rank)
    for (axis, position) in place.axes.enumerated() {
      pads[position] = pad.before[axis]
      pads[rank + position] = pad.after[axis]
    }
    var operands = [place.name, constant(pads)]
    if case .constant(let value) = pad.mode, value != 0 {
      operands.append(constant(value, graph.type(of: node.inputs[0]).elementType))
    }
    finish(emit("Pad", operands, [text("mode", pad.mode.operatorName)]), axes: place.axes)
  }

  // MARK: Reshape

  func emitReshape(_ reshape: Reshape) throws {
    let type = graph.type(of: node.inputs[0])
    let x = try input(node.inputs[0])
    var isKnown = true
    let extents = try reshape.extents.enumerated().map { position, extent -> Int in
      switch extent {
      case .fixed(let number): return number
      case .rest: return -1
      case .copy(let axis):
        let axis = try type.normalizedAxis(axis)
        if let number = type.dimensions[axis].extent { return number }
        if axis != position { isKnown = false }
        return 0
      }
    }
    let hasZero = reshape.extents.contains(.fixed(0)) || type.dimensions.contains(.fixed(0))
    if isKnown, !hasZero || !extents.contains(-1) {
      let allowsZero = hasZero && type.shape != nil
      return finish(
        emit("Reshape", [x, constant(extents)], [int("allowzero", allowsZero ? 1 : 0)]))
    }
    let parts = try zip(reshape.extents, extents).map { extent, number in
      guard case .copy(let axis) = extent else { return constant([number]) }
      return try shape(node.inputs[0], [type.normalizedAxis(axis)])
    }
    finish(emit("Reshape", [x, emit("Concat", parts, [int("axis", 0)])]))
  }

  func emitReshapeLike() throws {
    let like = graph.type(of: node.inputs[1])
    let x = try input(node.inputs[0])
    if let shape = like.shape, shape.count > 0 {
      return finish(emit("Reshape", [x, constant(shape.dimensions)]))
    }
    finish(emit("Reshape", [x, try shape(node.inputs[1], Array(0..<like.rank))]))
  }

  /// Extents of a value as int64 `[k]`; its tensor is not brought into another order for that.
  private func shape(_ value: Graph.ValueID, _ axes: [Int]) throws -> String {
    let place = try place(value)
    let all = emit("Shape", [place.name])
    let wanted = axes.map { place.axes[$0] }
    if wanted == Array(0..<place.axes.count) { return all }
    return emit("Gather", [all, constant(wanted)], [int("axis", 0)])
  }

  // MARK: Extents as data

  func emitDeferred(_ deferred: Deferred) throws {
    func operands() throws -> [String] { try node.inputs.map { try input($0) } }
    switch deferred {
    case .extents(let start, let end):
      let range = Deferred.cut(start, end, rank: rank(node.inputs[0]))
      finish(try shape(node.inputs[0], Array(range)))
    case .reshape(let allowsZero):
      finish(emit("Reshape", try operands(), [int("allowzero", allowsZero ? 1 : 0)]))
    case .broadcast: finish(emit("Expand", try operands()))
    case .fill(let value): finish(filled(try input(node.inputs[0]), value))
    case .slice: finish(emit("Slice", try operands()))
    case .pad(let mode):
      var inputs = try operands()
      if case .constant(let value) = mode, value != 0 {
        inputs.append(constant(value, graph.type(of: node.inputs[0]).elementType))
      }
      finish(emit("Pad", inputs, [text("mode", mode.operatorName)]))
    case .resize(let axes):
      guard let first = axes.first else { return finish(try input(node.inputs[0])) }
      let attributes = first.attributes(self) + [ints("axes", axes.map(\.axis))]
      let inputs = try operands()
      finish(emit("Resize", [inputs[0], "", "", inputs[1]], attributes))
    case .tile: finish(emit("Tile", try operands()))
    case .range: finish(emit("Range", try operands()))
    }
  }
}

extension Pad.Mode {
  fileprivate var operatorName: String {
    switch self {
    case .constant: "constant"
    case .reflect: "reflect"
    case .edge: "edge"
    case .wrap: "wrap"
    }
  }
}
