import ConvNetGraph

extension ONNXOperators {
  /// Convolution and transposed convolution over one, two or three spatial dimensions.
  static let convolution: [String: ONNXOperator] = [
    "Conv": one { try convolution($0) },
    "ConvTranspose": one { try transposedConvolution($0) },
  ]

  /// x `[N, C, …]`, w `[K, C/groups, …]`, perhaps b `[K]`.
  private static func convolution(_ node: ONNXNodeImporter) throws -> Graph.ValueID {
    let window = try node.window(kernel: node.filterKernel())
    let groups = try node.int("group", default: 1)
    var operands = [
      try node.channelsLast(node.input(0)),
      try node.input(1, role: .convolutionFilter, permutedBy: node.filterAxes()),
    ]
    if node.has(2) { operands.append(try node.input(2, role: .bias)) }
    let convolution = Convolution(window: window, groups: groups)
    return try node.channelsFirst(node.add(.convolution(convolution), operands)[0])
  }

  /// x `[N, K, …]`, w `[K, C/groups, …]`, perhaps b `[C]`.
  private static func transposedConvolution(_ node: ONNXNodeImporter) throws -> Graph.ValueID {
    let kernel = try node.filterKernel()
    let x = try node.input(0)
    let (window, outputPadding) = try node.transposedWindow(
      kernel: kernel, input: node.builder.type(of: x))
    let convolution = Convolution(window: window, groups: try node.int("group", default: 1))
    // Seen from the convolution that is turned round, K channels are its results: the same order.
    var operands = [
      try node.channelsLast(x),
      try node.input(1, role: .convolutionFilter, permutedBy: node.filterAxes()),
    ]
    if node.has(2) { operands.append(try node.input(2, role: .bias)) }
    let operation = TransposedConvolution(convolution, outputPadding: outputPadding)
    return try node.channelsFirst(node.add(.transposedConvolution(operation), operands)[0])
  }
}

extension ONNXNodeImporter {
  /// The spatial axes of a filter, then its second and its first.
  func filterAxes() throws -> [Int] {
    let rank = try type(1).rank
    guard rank >= 3 else { throw malformed("a filter of rank \(rank)") }
    return Array(2..<rank) + [1, 0]
  }

  /// The kernel's extents, given as an attribute or by the filter.
  func filterKernel() throws -> [Int] {
    let filter = try type(1)
    let extents = filter.dimensions.dropFirst(2).compactMap(\.extent)
    if let given = try ints("kernel_shape") {
      guard given == extents || extents.count < filter.rank - 2 else {
        throw malformed("a kernel of \(given) is not that of \(filter)")
      }
      return given
    }
    guard extents.count == filter.rank - 2, !extents.isEmpty else {
      throw malformed("the kernel of \(filter) is not known")
    }
    return extents
  }

  /// The geometry that kernel, strides, dilations, pads and auto_pad describe.
  func window(kernel: [Int]) throws -> Window {
    Window(
      kernel: kernel, stride: try ints("strides"), dilation: try ints("dilations"),
      padding: try padding(rank: kernel.count))
  }

  private func padding(rank: Int) throws -> Padding {
    switch try string("auto_pad", default: "NOTSET") {
    case "NOTSET", "":
      guard let pads = try ints("pads") else { return .valid }
      guard pads.count == 2 * rank else {
        throw malformed("\(pads.count) pads do not fit \(rank) spatial dimensions")
      }
      return pads.allSatisfy { $0 == 0 }
        ? .valid : .explicit(before: Array(pads.prefix(rank)), after: Array(pads.suffix(rank)))
    case "SAME_UPPER": return .same
    case "SAME_LOWER": return .sameLower
    case "VALID": return .valid
    case let other: throw malformed("there is no auto_pad \(FileError.quoted(other))")
    }
  }

  /// The geometry of a transposed convolution: with an output shape or `auto_pad`, the padding that
  /// leads to it.
  func transposedWindow(
    kernel: [Int], input: TensorType
  ) throws -> (window: Window, outputPadding: [Int]) {
    var window = try window(kernel: kernel)
    var outputPadding = try ints("output_padding") ?? kernel.map { _ in 0 }
    let wanted = try ints("output_shape")
    let isSame = window.padding == .same || window.padding == .sameLower
    guard wanted != nil || isSame else { return (window, outputPadding) }
    guard window.stride.count == kernel.count, window.dilation.count == kernel.count,
      outputPadding.count == kernel.count, wanted.map({ $0.count >= kernel.count }) ?? true,
      input.rank == kernel.count + 2, outputPadding.allSatisfy({ (0...(1 << 24)).contains($0) })
    else { throw malformed("the attributes differ in the number of dimensions") }
    try window.check()
    var (before, after): ([Int], [Int]) = ([], [])
    for axis in kernel.indices {
      let span = window.dilation[axis] * (kernel[axis] - 1) + 1
      let stride = window.stride[axis]
      var total = span - stride + outputPadding[axis]
      if let wanted = wanted?.suffix(kernel.count) {
        guard let extent = input.dimensions[2 + axis].extent, (0...(1 << 24)).contains(extent),
          (0...(1 << 24)).contains(wanted[wanted.startIndex + axis])
        else { throw unsupported("an output shape for open extents") }
        total =
          stride * (extent - 1) + span + outputPadding[axis] - wanted[wanted.startIndex + axis]
      }
      if total < 0 {
        outputPadding[axis] -= total
        total = 0
      }
      let smaller = total / 2
      before.append(window.padding == .same ? smaller : total - smaller)
      after.append(window.padding == .same ? total - smaller : smaller)
    }
    window.padding = .explicit(before: before, after: after)
    return (window, outputPadding)
  }
}
