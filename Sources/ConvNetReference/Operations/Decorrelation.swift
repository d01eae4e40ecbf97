import ConvNetGraph

extension Covariance {
  /// m, μ = Σx/m and the co-moments Σ(x_c − μ_c)·(x_k − μ_k) of the channels of a group, in two passes.
  func evaluate(_ x: ReferenceTensor) -> [[Double]] {
    let channels = x.shape[x.shape.rank - 1]
    let rows = channels == 0 ? 0 : x.shape.count / channels
    let g = groupSize
    var mean = [Double](repeating: 0, count: channels)
    for row in 0..<rows {
      for c in 0..<channels { mean[c] += x.values[row * channels + c] / Double(rows) }
    }
    var moments = [Double](repeating: 0, count: channels * g)
    for row in 0..<rows {
      let start = row * channels
      for c in 0..<channels {
        for j in 0..<g {
          let k = c - c % g + j
          moments[c * g + j] += (x.values[start + c] - mean[c]) * (x.values[start + k] - mean[k])
        }
      }
    }
    return [[Double(rows)], mean, moments]
  }
}

extension Decorrelate {
  /// y = (x − μ)·W, W = Σ^(−1/2).
  func evaluate(_ operands: [ReferenceTensor]) -> [Double] {
    let x = operands[0]
    let channels = x.shape[x.shape.rank - 1]
    let statistics = Statistics(operands.dropFirst(), self)
    var y = x.values
    for group in 0..<channels / groupSize {
      let w = statistics.whitening(group)
      forEachRow(x.shape, group) { start in
        let centred = statistics.centred(x.values, start, group)
        let whitened = product(centred, w)
        for j in 0..<groupSize { y[start + j] = whitened[j] }
      }
    }
    return y
  }

  /// dx by the divided differences of Daleckii and Krein.
  ///
  /// With G = Σ over samples of (x − μ)ᵀ·dy, the gradient with respect to W were it free,
  ///
  ///     dΣ = D·(K ∘ (Dᵀ·G·D))·Dᵀ, made symmetric,   K_ij = −1/(√λᵢ·√λⱼ·(√λᵢ + √λⱼ))
  ///     dx = (dy − Σdy/m)·W + (2/m)·(x − μ)·dΣ
  ///
  /// Derivation. Let Σ = D·Λ·Dᵀ and f(t) = t^(−1/2). Daleckii & Krein: dW = D·(K ∘ (Dᵀ·dΣ·D))·Dᵀ with the
  /// divided differences K_ij = (f(λᵢ) − f(λⱼ))/(λᵢ − λⱼ), which for this f is
  /// (√λⱼ − √λᵢ)/(√λᵢ·√λⱼ·(√λᵢ − √λⱼ)·(√λᵢ + √λⱼ)), the expression above: no difference of eigenvalues is
  /// left, so equal ones do no harm (at λᵢ = λⱼ it is f′(λ)), unlike in the paper's equation for D. K is
  /// symmetric and D orthogonal, so the map is its own adjoint, which gives dΣ. Only its symmetric part
  /// meets a symmetric Σ. From Σ = Xᵀ·X/m + ε·I, X the centred rows: dX = dY·W + (2/m)·X·dΣ, and from
  /// X = x − μ: dx = dX − ΣdX/m, where the second term of dX has the sum 0.
  ///
  /// Running statistics do not depend on x: dx = dy·W.
  func evaluateGradient(_ operands: [ReferenceTensor]) -> [Double] {
    let (dy, x) = (operands[0], operands[1])
    let (channels, g) = (x.shape[x.shape.rank - 1], groupSize)
    let statistics = Statistics(operands.dropFirst(2), self)
    var dx = dy.values
    for group in 0..<channels / g {
      let w = statistics.whitening(group)
      var sums = [Double](repeating: 0, count: g)
      var dw = [Double](repeating: 0, count: g * g)
      if source == .batch {
        forEachRow(x.shape, group) { start in
          let centred = statistics.centred(x.values, start, group)
          for j in 0..<g {
            sums[j] += dy.values[start + j]
            for i in 0..<g { dw[i * g + j] += centred[i] * dy.values[start + j] }
          }
        }
      }
      let full = statistics.eigenbasis(group).inEigenbasis(dw) { a, b in
        let (a, b) = (a.squareRoot(), b.squareRoot())
        return -1 / (a * b * (a + b))
      }
      forEachRow(x.shape, group) { start in
        let centred = statistics.centred(x.values, start, group)
        let reached = (0..<g).map { dy.values[start + $0] - sums[$0] / max(statistics.count, 1) }
        let direct = product(reached, w)
        for j in 0..<g {
          dx[start + j] = direct[j]
          guard source == .batch else { continue }
          for i in 0..<g {
            let symmetric = (full[i * g + j] + full[j * g + i]) / 2
            dx[start + j] += 2 / statistics.count * centred[i] * symmetric
          }
        }
      }
    }
    return dx
  }

  /// Calls a closure with the flat index of a group's first channel in every row.
  private func forEachRow(_ shape: Shape, _ group: Int, _ body: (Int) -> Void) {
    let channels = shape[shape.rank - 1]
    for row in 0..<shape.count / channels { body(row * channels + group * groupSize) }
  }

  /// A row times a matrix.
  private func product(_ row: [Double], _ matrix: [Double]) -> [Double] {
    let g = groupSize
    return (0..<g).map { j in (0..<g).reduce(0) { $0 + row[$1] * matrix[$1 * g + j] } }
  }

  /// Mean and covariance from either kind of statistics.
  private struct Statistics {
    let count: Double
    let mean: [Double]
    let covariance: [Double]
    let g: Int
    let epsilon: Double

    /// Batch statistics are count, mean and co-moments; running ones are mean and covariance.
    init(_ operands: ArraySlice<ReferenceTensor>, _ attributes: Decorrelate) {
      let values = operands.map(\.values)
      (g, epsilon) = (attributes.groupSize, attributes.epsilon)
      switch attributes.source {
      case .batch:
        let m = values[0][0]
        (count, mean, covariance) = (m, values[1], values[2].map { $0 / m })
      case .running: (count, mean, covariance) = (0, values[0], values[1])
      }
    }

    func centred(_ x: [Double], _ start: Int, _ group: Int) -> [Double] {
      (0..<g).map { x[start + $0] - mean[group * g + $0] }
    }

    /// Σ + ε·I.
    func eigenbasis(_ group: Int) -> SymmetricMatrix {
      var matrix = SymmetricMatrix(
        Array(covariance[group * g * g..<(group + 1) * g * g]), order: g)
      // A covariance has no negative eigenvalues; rounding can make one. NaN stays.
      matrix.values = matrix.values.map { ($0 < 0 ? 0 : $0) + epsilon }
      return matrix
    }

    func whitening(_ group: Int) -> [Double] {
      eigenbasis(group).map { 1 / $0.squareRoot() }
    }
  }
}
