package import ConvNetGraph

/// Layers of `[N, C, H, W]` as imported models have them: a transpose before and after what works
/// on channels last.
extension Graph.Value {
  /// `[N, C, H, W]` to `[N, H, W, C]`, a layer, and back.
  package func channelsLast(_ layer: (Graph.Value) -> Graph.Value) -> Graph.Value {
    layer(transposed([0, 2, 3, 1])).transposed([0, 3, 1, 2])
  }

  package func convolutionFirst(
    _ filters: Int, kernel: Int = 3, stride: Int = 1, groups: Int = 1, bias: Bool = false
  ) -> Graph.Value {
    channelsLast {
      $0.convolution(filters, kernel: kernel, stride: stride, groups: groups, bias: bias)
    }
  }

  /// Convolution, batch norm of axis 1 and ReLU.
  package func unitFirst(_ filters: Int, kernel: Int = 3, stride: Int = 1, groups: Int = 1)
    -> Graph.Value
  {
    convolutionFirst(filters, kernel: kernel, stride: stride, groups: groups)
      .batchNormalization(axis: 1).relu()
  }

  /// A parameter times the value, as ONNX writes factors of channels.
  package func scaled(
    by name: String, _ shape: Shape, _ function: BinaryFunction = .multiply,
    parameterFirst: Bool = false
  ) -> Graph.Value {
    let parameter = Graph.Value(
      builder: builder, id: builder.addParameter(name, shape, role: .normalizationScale))
    return parameterFirst
      ? parameter.apply(.combine(function), self) : apply(.combine(function), parameter)
  }

  /// The mean of each channel `[N, C, 1, 1]`.
  package func pooledFirst() -> Graph.Value { reduced(.mean, axes: [2, 3], keepsAxes: true) }

  /// `[N, g·c, H, W]` to `[N, c·g, H, W]`, as in ShuffleNet.
  package func shuffledFirst(groups: Int) -> Graph.Value {
    let extents = type.dimensions.map { $0.extent ?? 0 }
    let (channels, height, width) = (extents[1], extents[2], extents[3])
    return reshaped([groups, channels / groups, height, width]).transposed([0, 2, 1, 3, 4])
      .reshaped([channels, height, width])
  }

  /// `[N, r·r·C, H, W]` to `[N, C, r·H, r·W]` (ONNX `DepthToSpace`).
  package func depthToSpaceFirst(_ r: Int) -> Graph.Value {
    let extents = type.dimensions.map { $0.extent ?? 0 }
    let (channels, height, width) = (extents[1] / (r * r), extents[2], extents[3])
    return reshaped([r, r, channels, height, width]).transposed([0, 3, 4, 1, 5, 2])
      .reshaped([channels, r * height, r * width])
  }
}

extension Graph {
  /// The elements moved by transposes that depend on inputs, in a graph of concrete shapes.
  package var transposedElementCount: Int {
    var active = Set(inputs.map(\.value))
    var count = 0
    for node in nodes where node.inputs.contains(where: active.contains) {
      active.formUnion(node.outputs)
      guard case .transpose(let transpose) = node.operation else { continue }
      let shape = type(of: node.inputs[0]).shape ?? []
      let moved = transpose.permutation.filter { shape[$0] != 1 }
      if moved != moved.sorted() { count += shape.count }
    }
    return count
  }
}
