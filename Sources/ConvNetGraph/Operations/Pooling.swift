/// The mean over a window of `[N, H, W, C]`; over one or three spatial dimensions likewise.
package struct AveragePool: Hashable, Sendable, Codable {
  package var window: Window
  /// Whether positions of the padding count in the divisor; those beyond it, which a window that is rounded
  /// up reaches, never do.
  package var countsPadding: Bool

  package init(window: Window, countsPadding: Bool = false) {
    self.window = window
    self.countsPadding = countsPadding
  }
}

extension Window {
  /// The type a window makes of a channels-last input.
  func pooledType(_ x: TensorType) throws -> TensorType {
    try check()
    guard x.rank == rank + 2 else {
      throw GraphError(.invalidShape, "a window \(kernel) does not slide over \(x)")
    }
    try checkPaddingInsideKernel()
    try checkDilationInsideInput(x)
    let spatial = try outputs(x.dimensions[1..<(x.rank - 1)])
    return TensorType([x.dimensions[0]] + spatial + [x.dimensions[x.rank - 1]])
  }

  func unpooledType(_ inputs: [TensorType]) throws -> TensorType {
    let operands = try Operation.float(inputs, count: 2)
    try Operation.expect(
      operands[0], toBe: pooledType(operands[1]), as: "the output's gradient")
    return operands[1]
  }

  /// A pooling window that lies wholly in the padding would have no value.
  private func checkPaddingInsideKernel() throws {
    guard case .explicit(let before, let after) = padding else { return }
    for index in 0..<rank {
      let span = dilation[index] * (kernel[index] - 1) + 1
      guard before[index] < span, after[index] < span else {
        throw GraphError(
          .invalidAttribute,
          "padding \(before) and \(after) is not smaller than the pooling window \(kernel)")
      }
    }
  }

  /// Taps further apart than the image is wide could step over it: such a window would have no value.
  ///
  /// Where the dilation is at most the extent, one tap meets the image: the first one starts
  /// before its end, the last one ends after its start, and no step between them misses all of it.
  private func checkDilationInsideInput(_ x: TensorType) throws {
    for index in 0..<rank where kernel[index] > 1 {
      guard let input = x.dimensions[1 + index].extent, dilation[index] > input else { continue }
      throw GraphError(
        .invalidShape, "a pooling window of dilation \(dilation) steps over an input \(x)")
    }
  }
}
