import ConvNetGraph

extension ONNXOperators {
  /// Pooling over one, two or three spatial dimensions, and over all positions.
  static let pooling: [String: ONNXOperator] = [
    "MaxPool": one { node in
      let window = try node.poolWindow()
      return try node.inFloat(node.input(0)) { x in
        try node.channelsFirst(node.add(.maxPool(window), node.channelsLast(x)))
      }
    },
    "AveragePool": one { node in
      let pool = AveragePool(
        window: try node.poolWindow(), countsPadding: try node.bool("count_include_pad"))
      return try node.channelsFirst(
        node.add(.averagePool(pool), node.channelsLast(node.input(0))))
    },
    "GlobalAveragePool": one { try reduceSpatial($0, .mean) },
    "GlobalMaxPool": one { try reduceSpatial($0, .maximum) },
  ]

  private static func reduceSpatial(
    _ node: ONNXNodeImporter, _ reduction: Reduction
  ) throws -> Graph.ValueID {
    let x = try node.input(0)
    guard node.rank(x) > 2 else { throw node.malformed("there are no positions to pool over") }
    let reduce = Reduce(reduction, axes: Array(2..<node.rank(x)), keepsAxes: true)
    return try node.add(.reduce(reduce), x)
  }
}

extension ONNXNodeImporter {
  fileprivate func poolWindow() throws -> Window {
    guard let kernel = try ints("kernel_shape") else { throw malformed("the kernel is missing") }
    var window = try window(kernel: kernel)
    window.roundsUp = try bool("ceil_mode")
    return window
  }

  /// An operation of float32 on a value that may be of another type of numbers.
  func inFloat(
    _ x: Graph.ValueID, _ body: (Graph.ValueID) throws -> Graph.ValueID
  ) throws -> Graph.ValueID {
    let type = builder.type(of: x).elementType
    guard type != .float32 else { return try body(x) }
    guard type == .uint8 else { throw unsupported("elements of type \(type.rawValue)") }
    return try add(.cast(type), body(add(.cast(.float32), x)))
  }
}
