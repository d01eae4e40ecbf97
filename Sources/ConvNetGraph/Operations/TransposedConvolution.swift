/// Transposed convolution: the adjoint of a convolution as an operation of its own (Dumoulin & Visin
/// 2016, chapter 4).
///
/// With x `[N, H, W, K]`, the filter w `[kh, kw, C/groups, K]` of the convolution that takes C channels to
/// K, and a bias `[C]`: y = b + ∂⟨conv(y, w), x⟩/∂y. Per spatial dimension, with input extent i, the output
/// extent is (i − 1)·s + d·(k − 1) + 1 + outputPadding − p − q.
package struct TransposedConvolution: Hashable, Sendable, Codable {
  /// The convolution it is the adjoint of; its padding is explicit or `.valid`.
  package var convolution: Convolution
  /// Positions added at the end of each spatial dimension, which several extents would lead to.
  package var outputPadding: [Int]

  package init(_ convolution: Convolution, outputPadding: [Int]? = nil) {
    self.convolution = convolution
    self.outputPadding = outputPadding ?? convolution.window.kernel.map { _ in 0 }
  }

  func outputType(_ inputs: [TensorType]) throws -> TensorType {
    let operands = try Operation.float(inputs, count: 2...3)
    let (x, w) = (operands[0], operands[1])
    let window = convolution.window
    try window.checkConvolution()
    let misfit = GraphError(
      .invalidShape,
      "an input \(x) and a filter \(w) do not fit a transposed convolution of "
        + "kernel \(window.kernel) in \(convolution.groups) groups")
    guard convolution.groups >= 1, x.rank == window.rank + 2, w.rank == window.rank + 2,
      outputPadding.count == window.rank, let filter = w.shape,
      Array(filter.dimensions.prefix(window.rank)) == window.kernel,
      x.dimensions[x.rank - 1] == .fixed(filter[w.rank - 1]),
      filter[w.rank - 1] >= 1, filter[w.rank - 1] % convolution.groups == 0
    else { throw misfit }
    let (channels, overflow) = filter[w.rank - 2].multipliedReportingOverflow(
      by: convolution.groups)
    guard !overflow, channels >= 1 else { throw misfit }
    if operands.count == 3 {
      try Operation.expect(operands[2], toBe: TensorType([.fixed(channels)]), as: "a bias")
    }
    let spatial = try (0..<window.rank).map { axis in
      let name = "transposed(\(window.kernel[axis]),\(window.stride[axis]),\(window.padding))"
      return try x.dimensions[1 + axis].map({ "\(name)·\($0)" }) { try extent(axis, input: $0) }
    }
    return TensorType([x.dimensions[0]] + spatial + [.fixed(channels)])
  }

  /// The spatial dimensions of the convolution that it is the adjoint of: from the extents of this one's
  /// output to those of its input.
  ///
  /// Where the output padding is longer than the stride, as a dilation lets it be, that convolution has
  /// positions left at the end, which nothing reads.
  package func axes(input: [Int]) throws -> [Window.Axis] {
    let window = convolution.window
    return try input.indices.map { axis in
      let output = try extent(axis, input: input[axis])
      var result = try window.axis(axis, input: output)
      result.output = input[axis]
      return result
    }
  }

  /// The output extent of one spatial dimension, checked to be one that the convolution brings back.
  private func extent(_ axis: Int, input: Int) throws -> Int {
    let window = convolution.window
    let (before, after): (Int, Int)
    switch window.padding {
    case .valid: (before, after) = (0, 0)
    case .explicit(let starts, let ends): (before, after) = (starts[axis], ends[axis])
    case .same, .sameLower:
      throw GraphError(.invalidAttribute, "a transposed convolution takes explicit padding")
    }
    let misfit = GraphError(
      .invalidShape,
      "an input of \(input) with padding \(before) and \(after) and output padding "
        + "\(outputPadding[axis]) gives no output of a transposed convolution")
    // Bounded, because the numbers may come from a file.
    guard (1...(1 << 32)).contains(input),
      (0..<max(window.stride[axis], window.dilation[axis])).contains(outputPadding[axis])
    else { throw misfit }
    let span = window.dilation[axis] * (window.kernel[axis] - 1) + 1
    let extent =
      (input - 1) * window.stride[axis] + span + outputPadding[axis] - before - after
    guard extent >= 1 else { throw misfit }
    return extent
  }
}
