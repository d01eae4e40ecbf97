import ConvNetGraph

extension TransposedConvolution {
  /// y[n,o,c] = b[c] + Σ x[n,i,k]·w[t,c,k] over the products that the convolution from y to x is made of.
  ///
  /// Input position i and tap t add to the output position i·stride + t·dilation − padding.
  func evaluate(_ operands: [ReferenceTensor], _ shape: Shape) -> [Double] {
    let (x, w) = (operands[0], operands[1])
    let spatial = 1..<(shape.rank - 1)
    guard let axes = try? axes(input: Array(x.shape.dimensions[spatial])) else {
      fatalError("A transposed convolution of \(x.shape) was checked and does not fit.")
    }
    let (inputs, outputs) = (axes.map(\.output), axes.map(\.input))
    let (channels, filters) = (shape[shape.rank - 1], x.shape[x.shape.rank - 1])
    let (groupChannels, groupFilters) = (
      channels / convolution.groups, filters / convolution.groups
    )
    var y = [Double](repeating: 0, count: shape.count)
    if operands.count == 3 {
      for index in y.indices { y[index] = operands[2].values[index % channels] }
    }
    let taps = positions(axes.map(\.kernel))
    for n in 0..<shape[0] {
      for (i, position) in positions(inputs).enumerated() {
        for (t, tap) in taps.enumerated() {
          let target = zip(axes, zip(position, tap)).map {
            $1.0 * $0.stride + $1.1 * $0.dilation - $0.before
          }
          guard zip(target, outputs).allSatisfy({ 0..<$1 ~= $0 }) else { continue }
          let o = zip(target, outputs).reduce(n) { $0 * $1.1 + $1.0 }
          let row = (n * inputs.reduce(1, *) + i) * filters
          for c in 0..<groupChannels {
            for k in 0..<filters {
              y[o * channels + k / groupFilters * groupChannels + c] +=
                x.values[row + k] * w.values[(t * groupChannels + c) * filters + k]
            }
          }
        }
      }
    }
    return y
  }

  /// All positions within extents, in row-major order.
  private func positions(_ extents: [Int]) -> [[Int]] {
    extents.reduce([[]]) { rows, extent in
      rows.flatMap { row in (0..<extent).map { row + [$0] } }
    }
  }
}
