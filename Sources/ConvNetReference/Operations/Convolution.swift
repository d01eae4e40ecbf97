import ConvNetGraph

extension Window {
  /// Calls a closure for every pair of output position and tap that meets the input, with flat spatial
  /// indices; for one output, taps come in row-major order.
  ///
  /// Input position = output·stride + tap·dilation − padding, in every spatial dimension.
  func forEachTap(
    input: [Int], _ body: (_ output: Int, _ input: Int, _ tap: Int) -> Void
  ) {
    let axes = input.indices.map { index in
      guard let axis = try? axis(index, input: input[index]) else {
        fatalError("A window \(kernel) does not fit an input \(input) that it was checked against.")
      }
      return axis
    }
    func descend(_ level: Int, _ output: Int, _ input: Int, _ tap: Int) {
      guard level < axes.count else { return body(output, input, tap) }
      let axis = axes[level]
      for o in 0..<axis.output {
        for k in 0..<axis.kernel {
          let i = o * axis.stride + k * axis.dilation - axis.before
          guard (0..<axis.input).contains(i) else { continue }
          descend(
            level + 1, output * axis.output + o, input * axis.input + i, tap * axis.kernel + k)
        }
      }
    }
    descend(0, 0, 0, 0)
  }
}

extension Convolution {
  /// y[n,o,k] = b[k] + Σ x[n,i,c]·w[t,c,k] over all taps t of output o that meet the input, at i, and the
  /// channels c of k's group.
  func evaluate(_ operands: [ReferenceTensor], _ shape: Shape) -> [Double] {
    let (x, w) = (operands[0], operands[1])
    var y = [Double](repeating: 0, count: shape.count)
    if operands.count == 3 {
      let bias = operands[2].values
      for index in y.indices { y[index] = bias[index % bias.count] }
    }
    x.values.withUnsafeBufferPointer { x in
      w.values.withUnsafeBufferPointer { w in
        y.withUnsafeMutableBufferPointer { y in
          forEachProduct(x: operands[0].shape, w: operands[1].shape, y: shape) {
            y[$2] += x[$0] * w[$1]
          }
        }
      }
    }
    return y
  }

  /// dx[n,i,c] = Σ dy[n,o,k]·w[t,c,k] over the same products as the convolution.
  func evaluateInputGradient(
    dy: ReferenceTensor, w: ReferenceTensor, _ shape: Shape
  ) -> [Double] {
    var dx = [Double](repeating: 0, count: shape.count)
    dy.values.withUnsafeBufferPointer { dyValues in
      w.values.withUnsafeBufferPointer { wValues in
        dx.withUnsafeMutableBufferPointer { dx in
          forEachProduct(x: shape, w: w.shape, y: dy.shape) {
            dx[$0] += dyValues[$2] * wValues[$1]
          }
        }
      }
    }
    return dx
  }

  /// dw[t,c,k] = Σ dy[n,o,k]·x[n,i,c] over the same products as the convolution.
  func evaluateFilterGradient(
    dy: ReferenceTensor, x: ReferenceTensor, _ shape: Shape
  ) -> [Double] {
    var dw = [Double](repeating: 0, count: shape.count)
    dy.values.withUnsafeBufferPointer { dyValues in
      x.values.withUnsafeBufferPointer { xValues in
        dw.withUnsafeMutableBufferPointer { dw in
          forEachProduct(x: x.shape, w: shape, y: dy.shape) {
            dw[$1] += dyValues[$2] * xValues[$0]
          }
        }
      }
    }
    return dw
  }

  /// Calls a closure with the flat indices of x, w and y for every product in the sum.
  private func forEachProduct(
    x: Shape, w: Shape, y: Shape, _ body: (_ x: Int, _ w: Int, _ y: Int) -> Void
  ) {
    let input = Array(x.dimensions[1..<(x.rank - 1)])
    let inputArea = input.reduce(1, *)
    let outputArea = y.dimensions[1..<(y.rank - 1)].reduce(1, *)
    let (channels, filters) = (x[x.rank - 1], y[y.rank - 1])
    let (groupChannels, groupFilters) = (channels / groups, filters / groups)
    for n in 0..<x[0] {
      window.forEachTap(input: input) { o, i, t in
        let xRow = (n * inputArea + i) * channels
        let yRow = (n * outputArea + o) * filters
        for c in 0..<groupChannels {
          let wRow = (t * groupChannels + c) * filters
          for k in 0..<filters {
            body(xRow + k / groupFilters * groupChannels + c, wRow + k, yRow + k)
          }
        }
      }
    }
  }
}
