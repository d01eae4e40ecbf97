public import ConvNetGraph
import ConvNetLAPACK
import OpenBLAS

/// Whitening of input data: y = W·(x − μ), whose features are uncorrelated and of variance 1.
///
///     let whitening = try Whitening.fit(data: images, kind: .zca, epsilon: 0.01)
///     let white = try whitening.apply(to: images)
///
/// With the covariance Σ of the data and Σ + ε·I = D·Λ·Dᵀ, W is one of the matrices with
/// Wᵀ·W = (Σ + ε·I)⁻¹, which differ by a rotation (Kessy, Lewin & Strimmer 2018). Everything is computed
/// in Float64; results are rounded to float32 once.
public struct Whitening: Hashable, Sendable {
  /// Which of the matrices that whiten.
  public enum Kind: String, Hashable, Sendable, CaseIterable {
    /// W = Λ^(−1/2)·Dᵀ: features along the principal axes, the one of the largest variance first. The
    /// sign of an axis is such that its element of largest magnitude is positive.
    case pca
    /// W = D·Λ^(−1/2)·Dᵀ, symmetric: of all that whiten the one that keeps features closest to what they
    /// were, by mean square (Bell & Sejnowski 1997); of an image it still makes an image.
    case zca
    /// W = L⁻¹ with Σ + ε·I = L·Lᵀ, lower triangular: each feature less what those before it predict.
    case cholesky
  }

  /// Which of the matrices that whiten.
  public let kind: Kind
  /// μ, by feature.
  public let mean: [Double]
  /// W, row-major `[components, features]`.
  public let matrix: [Double]
  /// Row-major `[features, components]`: what takes y back to x − μ, as far as components are kept.
  public let inverseMatrix: [Double]

  /// The numbers of a sample.
  public var features: Int { mean.count }
  /// The numbers of a whitened sample.
  public var components: Int { matrix.count / mean.count }

  /// Measures data and makes the matrix that whitens them.
  ///
  /// Takes features² numbers of memory and some 10·features³ operations.
  ///
  /// - Parameters:
  ///   - data: at least two samples `[N, features]`, float32, float64 or uint8; of more dimensions,
  ///     all but the first are features.
  ///   - kind: which of the matrices that whiten.
  ///   - epsilon: added to the variance along every axis, so that directions in which the data hardly
  ///     vary are not blown up.
  ///   - components: how many principal axes to keep, the largest; for `.pca` only. All by default.
  /// - Throws: `TrainingError` where there are too few samples, a number is not finite, an option is out
  ///   of its range, or the covariance is singular and ε does not help.
  public static func fit(
    data: Tensor, kind: Kind = .zca, epsilon: Double = 1e-5, components: Int? = nil
  ) throws -> Whitening {
    let samples = try SampleRows(data)
    let features = samples.features
    let kept = components ?? features
    guard (1...features).contains(kept), kind == .pca || kept == features else {
      throw TrainingError(
        .invalidOption, "\(kept) of \(features) components cannot be kept by \(kind.rawValue)")
    }
    guard epsilon >= 0, epsilon.isFinite else {
      throw TrainingError(.invalidOption, "an epsilon of \(epsilon) is negative or not finite")
    }
    guard samples.count >= 2 else {
      throw TrainingError(.invalidData, "\(data.shape) has too few samples for a covariance")
    }
    let mean = samples.mean()
    var covariance = samples.covariance(about: mean)
    guard covariance.allSatisfy(\.isFinite) else {
      throw TrainingError(.notFinite, "the data to be whitened are not all finite")
    }
    for i in 0..<features { covariance[i * (features + 1)] += epsilon }
    let matrices =
      kind == .cholesky
      ? try triangular(covariance, features)
      : try spectral(covariance, features, kind, kept)
    return Whitening(
      kind: kind, mean: mean, matrix: matrices.whitening, inverseMatrix: matrices.inverse)
  }

  /// y = W·(x − μ) of every sample, float32.
  ///
  /// - Parameter data: samples as `fit` takes them, of the same number of features.
  /// - Returns: `[N, components]`, for `.zca` the shape of the data.
  /// - Throws: `TrainingError` where the data have another number of features.
  public func apply(to data: Tensor) throws -> Tensor {
    let samples = try SampleRows(data)
    guard samples.features == features else { throw mismatch(data, features) }
    let y = samples.transformed(by: matrix, columns: components, subtracting: mean, adding: nil)
    return Tensor(y, shape: kind == .zca ? data.shape : [samples.count, components])
  }

  /// x = W⁻¹·y + μ of every whitened sample, float32; where components were left out, the nearest that
  /// the others give.
  ///
  /// - Parameter data: samples as `apply` gives them.
  /// - Returns: `[N, features]`, for `.zca` the shape of the data.
  /// - Throws: `TrainingError` where the data have another number of components.
  public func inverse(of data: Tensor) throws -> Tensor {
    let samples = try SampleRows(data)
    guard samples.features == components else { throw mismatch(data, components) }
    let x = samples.transformed(
      by: inverseMatrix, columns: features, subtracting: nil, adding: mean)
    return Tensor(x, shape: kind == .zca ? data.shape : [samples.count, features])
  }

  private func mismatch(_ data: Tensor, _ count: Int) -> TrainingError {
    TrainingError(.invalidData, "data of \(data.shape) do not have \(count) numbers a sample")
  }

  // MARK: Matrices

  /// D and Λ by LAPACK, then W and its inverse for principal axes or the symmetric root.
  private static func spectral(
    _ covariance: [Double], _ n: Int, _ kind: Kind, _ kept: Int
  ) throws -> (whitening: [Double], inverse: [Double]) {
    let (values, vectors) = try TrainingError.decomposing {
      let problem = try LAPACK.symmetricEigenproblem(order: n, covariance)
      return (problem.values, problem.vectors)
    }
    // Eigenvalues are exact to n·2⁻⁵² of the largest; a smaller one is noise.
    let least = Double(n) * Double.ulpOfOne * max(values[n - 1], 0)
    guard values[n - kept] > least else { throw singular(kept, of: n) }
    var whitening: [Double] = []
    var inverse = [Double](repeating: 0, count: n * kept)
    for k in 0..<kept {
      let (row, root) = (n - 1 - k, values[n - 1 - k].squareRoot())
      let axis = vectors[row * n..<(row + 1) * n]
      let largest = axis.max { abs($0) < abs($1) } ?? 1
      let sign = largest < 0 ? -1.0 : 1.0
      whitening += axis.map { sign * $0 / root }
      for (i, element) in axis.enumerated() { inverse[i * kept + k] = sign * element * root }
    }
    guard kind == .zca else { return (whitening, inverse) }
    // D·(Λ^(−1/2)·Dᵀ), and D·Λ^(1/2) by Dᵀ; V has Dᵀ's rows from the smallest to the largest.
    var axes: [Double] = []
    for k in 0..<n {
      let root = values[n - 1 - k].squareRoot()
      axes += whitening[k * n..<(k + 1) * n].map { $0 * root }
    }
    return (
      product(axes, transposed: true, whitening, n), product(inverse, transposed: false, axes, n)
    )
  }

  /// L by LAPACK and L⁻¹ by forward substitution: row i is (eᵢ − Σ_{k<i} L_ik·rowₖ)/L_ii.
  private static func triangular(
    _ covariance: [Double], _ n: Int
  ) throws -> (whitening: [Double], inverse: [Double]) {
    let factor: [Double]
    do { factor = try LAPACK.cholesky(order: n, covariance) } catch is LAPACKError {
      throw singular(n, of: n)
    }
    var inverse = [Double](repeating: 0, count: n * n)
    for i in 0..<n {
      inverse[i * n + i] = 1
      for k in 0..<i {
        let l = factor[i * n + k]
        for j in 0...k { inverse[i * n + j] -= l * inverse[k * n + j] }
      }
      for j in 0...i { inverse[i * n + j] /= factor[i * n + i] }
    }
    return (inverse, factor)
  }

  private static func singular(_ kept: Int, of n: Int) -> TrainingError {
    TrainingError(
      .invalidData,
      "the data vary along fewer than \(kept) of \(n) axes; give a larger epsilon, or keep fewer "
        + "components")
  }

  /// A·B or Aᵀ·B of n × n.
  private static func product(
    _ a: [Double], transposed: Bool, _ b: [Double], _ n: Int
  ) -> [Double] {
    var c = [Double](repeating: 0, count: n * n)
    a.withUnsafeBufferPointer { a in
      b.withUnsafeBufferPointer { b in
        c.withUnsafeMutableBufferPointer { c in
          let left = BLAS.Matrix(a, rows: n, columns: n)
          BLAS.dgemm(
            transposed ? left.transposed : left, BLAS.Matrix(b, rows: n, columns: n),
            into: BLAS.MutableMatrix(c, rows: n, columns: n))
        }
      }
    }
    return c
  }
}
