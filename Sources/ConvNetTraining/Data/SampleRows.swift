import ConvNetGraph
import OpenBLAS

/// Samples as rows of doubles, some rows at a time: data may be large, and their copy in Float64 larger.
struct SampleRows {
  private static let blockRows = 256

  private let data: Tensor
  let count: Int
  let features: Int

  init(_ data: Tensor) throws {
    guard data.shape.rank >= 2, [.float32, .float64, .uint8].contains(data.elementType),
      data.count > 0
    else {
      throw TrainingError(
        .invalidData,
        "data to be whitened are numbers [N, features], not \(data.elementType.rawValue) "
          + "\(data.shape)")
    }
    self.data = data
    count = data.shape[0]
    features = data.count / count
  }

  /// Calls a closure with blocks of rows, less an offset.
  private func forEachBlock(
    subtracting offset: [Double]?, _ body: (UnsafeBufferPointer<Double>, Range<Int>) -> Void
  ) {
    var block = [Double](repeating: 0, count: min(count, Self.blockRows) * features)
    for start in stride(from: 0, to: count, by: Self.blockRows) {
      let rows = start..<min(start + Self.blockRows, count)
      fill(&block, rows)
      if let offset {
        for row in 0..<rows.count {
          for j in 0..<features { block[row * features + j] -= offset[j] }
        }
      }
      block.withUnsafeBufferPointer {
        body(UnsafeBufferPointer(rebasing: $0.prefix(rows.count * features)), rows)
      }
    }
  }

  private func fill(_ block: inout [Double], _ rows: Range<Int>) {
    let (start, length) = (rows.lowerBound * features, rows.count * features)
    switch data.elementType {
    case .float32:
      data.withElements { (x: Span<Float>) in
        for i in 0..<length { block[i] = Double(x[start + i]) }
      }
    case .uint8:
      data.withElements { (x: Span<UInt8>) in
        for i in 0..<length { block[i] = Double(x[start + i]) }
      }
    default:
      data.withElements { (x: Span<Double>) in
        for i in 0..<length { block[i] = x[start + i] }
      }
    }
  }

  /// μ = Σx/N.
  func mean() -> [Double] {
    var sums = [Double](repeating: 0, count: features)
    forEachBlock(subtracting: nil) { block, rows in
      for row in 0..<rows.count {
        for j in 0..<features { sums[j] += block[row * features + j] }
      }
    }
    return sums.map { $0 / Double(count) }
  }

  /// Σ(x − μ)·(x − μ)ᵀ/N, by `dgemm` of the centred blocks.
  func covariance(about mean: [Double]) -> [Double] {
    var result = [Double](repeating: 0, count: features * features)
    result.withUnsafeMutableBufferPointer { result in
      let sum = BLAS.MutableMatrix(result, rows: features, columns: features)
      forEachBlock(subtracting: mean) { block, rows in
        let x = BLAS.Matrix(block, rows: rows.count, columns: features)
        BLAS.dgemm(x.transposed, x, into: sum, alpha: 1 / Double(count), beta: 1)
      }
    }
    return result
  }

  /// matrix·(x − offset) + addend of every row, rounded to float32.
  func transformed(
    by matrix: [Double], columns: Int, subtracting offset: [Double]?, adding addend: [Double]?
  ) -> [Float] {
    var output = [Float](repeating: 0, count: count * columns)
    var product = [Double](repeating: 0, count: min(count, Self.blockRows) * columns)
    matrix.withUnsafeBufferPointer { matrix in
      let weights = BLAS.Matrix(matrix, rows: columns, columns: features).transposed
      forEachBlock(subtracting: offset) { block, rows in
        product.withUnsafeMutableBufferPointer { product in
          BLAS.dgemm(
            BLAS.Matrix(block, rows: rows.count, columns: features), weights,
            into: BLAS.MutableMatrix(product, rows: rows.count, columns: columns))
        }
        for row in 0..<rows.count {
          for j in 0..<columns {
            output[(rows.lowerBound + row) * columns + j] =
              Float(product[row * columns + j] + (addend?[j] ?? 0))
          }
        }
      }
    }
    return output
  }
}
