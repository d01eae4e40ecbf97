/// Convolution (cross-correlation, as the whole field means it) over 1, 2 or 3 spatial dimensions,
/// channels last.
///
/// With x `[N, H, W, C]`, w `[kh, kw, C/groups, K]` and bias `[K]`:
/// y[n,i,j,k] = b[k] + Σ x[n, i·s + u·d − p, j·s + v·d − p, c] · w[u,v,c,k] over u, v and the channels c
/// of k's group; positions outside the image count as 0. Depthwise convolution is groups = C.
package struct Convolution: Hashable, Sendable, Codable {
  package var window: Window
  package var groups: Int

  package init(window: Window, groups: Int = 1) {
    self.window = window
    self.groups = groups
  }

  func outputType(_ inputs: [TensorType]) throws -> TensorType {
    let operands = try Operation.float(inputs, count: 2...3)
    let (x, w) = (operands[0], operands[1])
    let filters = try checkFilter(w, input: x)
    if operands.count == 3, operands[2].dimensions != [.fixed(filters)] {
      throw GraphError(
        .invalidShape, "a bias \(operands[2]) does not fit \(filters) output channels")
    }
    let spatial = try window.outputs(x.dimensions[1..<(x.rank - 1)])
    return TensorType([x.dimensions[0]] + spatial + [.fixed(filters)])
  }

  func inputGradientType(_ inputs: [TensorType]) throws -> TensorType {
    let operands = try Operation.float(inputs, count: 3)
    let expected = try outputType([operands[2], operands[1]])
    try Operation.expect(operands[0], toBe: expected, as: "the output's gradient")
    return operands[2]
  }

  func filterGradientType(_ inputs: [TensorType]) throws -> TensorType {
    let operands = try Operation.float(inputs, count: 3)
    let expected = try outputType([operands[1], operands[2]])
    try Operation.expect(operands[0], toBe: expected, as: "the output's gradient")
    return operands[2]
  }

  /// Checks the filter against the input and gives the number of output channels.
  private func checkFilter(_ w: TensorType, input x: TensorType) throws -> Int {
    try window.checkConvolution()
    let misfit = GraphError(
      .invalidShape,
      "an input \(x) and a filter \(w) do not fit a kernel \(window.kernel) in \(groups) groups")
    guard groups >= 1, x.rank == window.rank + 2, w.rank == window.rank + 2,
      let filter = w.shape, Array(filter.dimensions.prefix(window.rank)) == window.kernel,
      let channels = x.dimensions[x.rank - 1].extent
    else { throw misfit }
    let filters = filter[w.rank - 1]
    // Divided, not multiplied: the numbers may come from a file.
    guard channels >= 1, filters >= 1, channels % groups == 0, filters % groups == 0,
      filter[w.rank - 2] == channels / groups
    else { throw misfit }
    return filters
  }
}

extension Window {
  /// Refuses what no convolution can have.
  func checkConvolution() throws {
    try check()
    guard !roundsUp else {
      throw GraphError(.invalidAttribute, "the extents of a convolution are not rounded up")
    }
  }
}

extension Operation {
  /// Refuses an operand of another type than expected.
  static func expect(_ type: TensorType, toBe expected: TensorType, as role: String) throws {
    guard type == expected else {
      throw GraphError(.invalidShape, "\(role) should be \(expected) and is \(type)")
    }
  }
}
