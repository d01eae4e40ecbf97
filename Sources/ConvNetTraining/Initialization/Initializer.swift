public import ConvNetGraph
import ConvNetLAPACK

/// The initial values of filters and dense weights; biases and β start at 0, γ at 1.
///
/// A parameter's numbers are a pure function of (seed, its name, its shape): adding a layer, or leaving
/// batch normalisation out, changes no other parameter.
public enum Initializer: Hashable, Sendable {
  /// Normal with variance 2/fan-in, which keeps the variance of activations through ReLU layers (He et
  /// al. 2015, equation 10). The fan-in of a filter `[kh, kw, C/groups, K]` is kh·kw·C/groups.
  case he
  /// Uniform within ±√(6/(fan-in + fan-out)) (Glorot & Bengio 2010, equation 16). The fan-out of a filter
  /// is kh·kw·K.
  case glorot
  /// The weight as a matrix `[fan-in, K]` times `gain` has orthonormal columns, or rows where there are
  /// fewer, and is Haar-distributed (Saxe et al. 2014; Mezzadri 2007).
  case orthogonal(gain: Double = 1)

  /// The values of one parameter.
  ///
  /// - Throws: `LAPACKError` where a factorisation fails.
  func values(name: String, role: ParameterRole, shape: Shape, seed: UInt64) throws -> Tensor {
    switch role {
    case .bias, .normalizationShift, .constant: return Tensor(zeros: shape)
    case .normalizationScale: return Tensor(repeating: Float(1), shape: shape)
    case .convolutionFilter, .denseWeight: break
    }
    let random = Philox(seed: seed, purpose: name)
    let outputs = shape.dimensions.last ?? 1
    let inputs = shape.dimensions.dropLast().reduce(1, *)
    guard shape.count > 0 else { return Tensor(zeros: shape) }
    let values: [Double]
    switch self {
    case .he:
      let deviation = (2 / Double(inputs)).squareRoot()
      values = random.normals(shape.count).map { $0 * deviation }
    case .glorot:
      let taps = role == .convolutionFilter ? shape.dimensions.dropLast(2).reduce(1, *) : 1
      let bound = (6 / Double(inputs + taps * outputs)).squareRoot()
      values = random.uniforms(shape.count, bound: bound)
    case .orthogonal(let gain):
      values = try Self.orthogonal(rows: inputs, columns: outputs, random).map { $0 * gain }
    }
    return Tensor(values.map { Float($0) }, shape: shape)
  }

  /// A Haar-distributed matrix with orthonormal columns, or rows where there are fewer.
  ///
  /// For Gaussian A = Q·R, the matrix Q·diag(sign R) is Haar-distributed, while Q alone depends on the
  /// signs that Householder's reflections happen to give (Mezzadri 2007, section 5).
  private static func orthogonal(rows: Int, columns: Int, _ random: Philox) throws -> [Double] {
    let (long, short) = (max(rows, columns), min(rows, columns))
    let (q, r) = try TrainingError.decomposing {
      try LAPACK.qr(rows: long, columns: short, random.normals(long * short))
    }
    var result = [Double](repeating: 0, count: rows * columns)
    for i in 0..<long {
      for j in 0..<short {
        let value = r[j * short + j] < 0 ? -q[i * short + j] : q[i * short + j]
        result[rows >= columns ? i * columns + j : j * columns + i] = value
      }
    }
    return result
  }
}

extension Model {
  /// A network before training: parameters by an initialiser, running means 0 and variances 1.
  ///
  /// - Parameters:
  ///   - graph: the network.
  ///   - initializer: how filters and dense weights start.
  ///   - seed: the same seed gives the same numbers, bit for bit.
  /// - Throws: `GraphError` where a parameter's shape is open; `TrainingError` where an orthogonal weight
  ///   cannot be factorised.
  public init(initializing graph: Graph, initializer: Initializer = .he, seed: UInt64) throws {
    var parameters: [String: Tensor] = [:]
    for parameter in graph.parameterViews {
      guard let shape = parameter.type.shape else {
        throw GraphError(
          .invalidShape, "a parameter of open shape \(parameter.type)", at: parameter.name)
      }
      parameters[parameter.name] = try initializer.values(
        name: parameter.name, role: parameter.role, shape: shape, seed: seed)
    }
    try self.init(graph: graph, parameters: parameters, state: Model.initialState(of: graph))
  }
}
