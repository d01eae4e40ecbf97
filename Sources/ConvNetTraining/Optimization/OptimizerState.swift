import CConvNetLoops
package import ConvNetEngine
package import ConvNetGraph

/// The moments of every trainable parameter, and the update that uses them: clipping, weight decay and
/// the step in one loop, and the averages that follow while a piece is in cache.
///
/// Tensors are cut into pieces of fixed length, which lanes share: bits depend on no number of lanes, and
/// an update is one loop over each piece.
package final class OptimizerState {
  /// A parameter with what its update needs.
  struct Entry {
    let name: String
    let gradientName: String
    let shape: Shape
    let decays: Bool
    let moments: [TensorStorage]
  }

  /// A run of elements of one parameter.
  private struct Piece {
    var entry: Int
    var start: Int
    var count: Int
  }

  /// Elements of a piece: four arrays of them fit in L2.
  static let pieceLength = 16_384

  let optimizer: Optimizer
  let clipping: GradientClipping?
  let entries: [Entry]
  /// Updates so far, for Adam's correction of its moments' bias.
  package private(set) var stepCount = 0
  /// The Euclidean norm of the gradients that were last checked, where they are clipped to one.
  package private(set) var gradientNorm: Double?
  private let pieces: [Piece]
  private var parameters: [UnsafeMutableBufferPointer<Float>] = []
  /// The bound gradients, in the order of `entries`; none before the first step.
  private(set) var gradients: [UnsafeBufferPointer<Float>] = []
  /// What follows the parameters; empty where nothing does.
  private var averages: [UnsafeMutableBufferPointer<Float>] = []
  private let moments: [(first: UnsafeMutablePointer<Float>, second: UnsafeMutablePointer<Float>)]
  private var checks: [Check]

  /// What is known of a piece of gradient.
  private struct Check {
    var isFinite = true
    var squares = 0.0
  }

  /// Makes moments of 0 for the trainable parameters of a graph.
  ///
  /// - Parameters:
  ///   - clipping: how gradients are made smaller, if at all.
  ///   - decays: whether weight decay applies to a parameter of this name and role.
  package init(
    _ optimizer: Optimizer, clipping: GradientClipping? = nil, graph: Graph,
    decays: (_ name: String, _ role: ParameterRole) -> Bool
  ) {
    self.optimizer = optimizer
    self.clipping = clipping
    entries = graph.parameters.filter(\.isTrainable).map { parameter in
      let shape = graph.type(of: parameter.value).shape ?? []
      return Entry(
        name: parameter.name, gradientName: "gradient/\(parameter.name)", shape: shape,
        decays: decays(parameter.name, parameter.role),
        moments: optimizer.momentNames.map { _ in TensorStorage(byteCount: shape.count * 4) })
    }
    pieces = entries.indices.flatMap { [entries] index in
      let count = entries[index].shape.count
      return stride(from: 0, to: count, by: Self.pieceLength).map {
        Piece(entry: index, start: $0, count: min(Self.pieceLength, count - $0))
      }
    }
    moments = entries.map { entry in
      let pointers = entry.moments.map { $0.base.assumingMemoryBound(to: Float.self) }
      return (pointers[0], pointers[pointers.count - 1])
    }
    checks = [Check](repeating: Check(), count: pieces.count)
  }

  /// The parameters that weight decay applies to.
  var decayingParameters: [String] { entries.filter(\.decays).map(\.name) }

  /// Bytes of the moments.
  package var byteCount: Int { entries.flatMap(\.moments).reduce(0) { $0 + $1.byteCount } }

  /// Says where parameters, their gradients and what follows the parameters are, in the order of
  /// `entries`.
  ///
  /// All must stay valid until the next `bind`.
  package func bind(
    parameters: (String) -> UnsafeMutableBufferPointer<Float>,
    averages: ((String) -> UnsafeMutableBufferPointer<Float>)? = nil,
    gradients: (String) throws -> UnsafeBufferPointer<Float>
  ) rethrows {
    self.parameters.removeAll(keepingCapacity: true)
    self.averages.removeAll(keepingCapacity: true)
    self.gradients.removeAll(keepingCapacity: true)
    for entry in entries {
      self.parameters.append(parameters(entry.name))
      if let averages { self.averages.append(averages(entry.name)) }
      self.gradients.append(try gradients(entry.gradientName))
      guard self.parameters.last?.count == entry.shape.count,
        self.gradients.last?.count == entry.shape.count
      else { fatalError("The gradient of \(entry.name) is not of its shape \(entry.shape).") }
    }
  }

  private func parameter(_ piece: Piece) -> UnsafeMutablePointer<Float>? {
    parameters[piece.entry].baseAddress.map { $0 + piece.start }
  }

  private func gradient(_ piece: Piece) -> UnsafePointer<Float>? {
    gradients[piece.entry].baseAddress.map { $0 + piece.start }
  }

  /// The parameter nearest to the loss whose bound gradient has an infinity or a NaN, if any.
  ///
  /// That is where it arose: it goes from there to everything before. Where there is none the norm of the
  /// gradients is known afterwards, if it is needed.
  package func nonFiniteGradient(lanes: Lanes) -> String? {
    let needsNorm = if case .norm = clipping { true } else { false }
    checks.withUnsafeMutableBufferPointer { checks in
      nonisolated(unsafe) let (state, checks) = (self, checks)
      lanes.run(pieces: pieces.count) { index, _ in
        let piece = state.pieces[index]
        let g = state.gradient(piece)
        checks[index].isFinite = cnl_all_finite(g, piece.count) != 0
        if needsNorm { checks[index].squares = cnl_sum_of_squares(g, piece.count) }
      }
    }
    gradientNorm = nil
    if let index = checks.lastIndex(where: { !$0.isFinite }) {
      return entries[pieces[index].entry].name
    }
    // Pieces are added up in order, whoever computed them.
    if needsNorm { gradientNorm = pieces.indices.reduce(0) { $0 + squares($1) }.squareRoot() }
    return nil
  }

  /// Σg² of a finite piece, in Double from the first where a float cannot hold it.
  private func squares(_ index: Int) -> Double {
    let piece = pieces[index]
    guard !checks[index].squares.isFinite, let g = gradient(piece) else {
      return checks[index].squares
    }
    return (0..<piece.count).reduce(0) { $0 + Double(g[$1]) * Double(g[$1]) }
  }

  /// Moves every bound parameter along its bound gradient.
  ///
  /// Gradients clipped to a norm have been checked before.
  ///
  /// - Parameters:
  ///   - factor: what the schedule multiplies the learning rate by.
  ///   - take: how far bound averages follow.
  package func update(factor: Double, take: Float = 0, lanes: Lanes) {
    stepCount += 1
    let rate = optimizer.learningRate * factor
    let clip = clipping?.factors(norm: gradientNorm) ?? (1, .infinity)
    // Pieces are disjoint, and nothing but the elements behind pointers changes.
    nonisolated(unsafe) let state = self
    switch optimizer {
    case .sgd(let sgd):
      lanes.run(pieces: pieces.count) { index, _ in
        state.move(state.pieces[index], by: sgd, rate: rate, clip)
        state.follow(state.pieces[index], take: take)
      }
    case .adam(let adam):
      // 1 − βᵗ by multiplication: `pow` may differ between C libraries in its last bit.
      let correction1 = Float(1 - Self.power(adam.beta1, stepCount))
      let correction2 = Float(1 - Self.power(adam.beta2, stepCount))
      lanes.run(pieces: pieces.count) { index, _ in
        state.move(state.pieces[index], by: adam, rate: rate, clip, correction1, correction2)
        state.follow(state.pieces[index], take: take)
      }
    }
  }

  private func follow(_ piece: Piece, take: Float) {
    guard !averages.isEmpty, let average = averages[piece.entry].baseAddress else { return }
    cnl_average(average + piece.start, parameter(piece), take, piece.count)
  }

  private func move(
    _ piece: Piece, by sgd: SGD, rate: Double, _ clip: (scale: Float, limit: Float)
  ) {
    let decay = entries[piece.entry].decays ? sgd.weightDecay : .none
    let kept = Float(1 - rate * decay.decoupledRate)
    let w = parameter(piece)
    if kept != 1 { cnl_map(Int32(CNL_AFFINE.rawValue), kept, 0, w, w, piece.count) }
    cnl_sgd(
      w, moments[piece.entry].first + piece.start, gradient(piece), Float(rate),
      Float(sgd.momentum), Float(decay.coupledRate), clip.scale, clip.limit,
      sgd.nesterov ? 1 : 0, piece.count)
  }

  private func move(
    _ piece: Piece, by adam: Adam, rate: Double, _ clip: (scale: Float, limit: Float),
    _ correction1: Float, _ correction2: Float
  ) {
    let decay = entries[piece.entry].decays ? adam.weightDecay : .none
    cnl_adam(
      parameter(piece), moments[piece.entry].first + piece.start,
      moments[piece.entry].second + piece.start, gradient(piece), Float(rate), Float(adam.beta1),
      Float(adam.beta2), Float(adam.epsilon), Float(decay.coupledRate),
      Float(decay.decoupledRate), correction1, correction2, clip.scale, clip.limit, piece.count)
  }

  /// base^exponent by repeated squaring.
  private static func power(_ base: Double, _ exponent: Int) -> Double {
    var (result, square, rest) = (1.0, base, exponent)
    while rest > 0 {
      if rest & 1 == 1 { result *= square }
      square *= square
      rest >>= 1
    }
    return result
  }
}

extension OptimizerState {
  /// Copies of all moments, named "velocity/PARAMETER" and the like, and the number of updates as "steps".
  package var tensors: [String: Tensor] {
    var tensors = ["steps": Tensor(scalar: Int64(stepCount))]
    for entry in entries {
      for (name, moment) in zip(optimizer.momentNames, entry.moments) {
        var tensor = Tensor(zeros: entry.shape)
        tensor.withMutableBytes { $0.copyMemory(from: Self.bytes(of: moment)) }
        tensors["\(name)/\(entry.name)"] = tensor
      }
    }
    return tensors
  }

  /// Takes moments back that `tensors` gave.
  ///
  /// - Throws: `TrainingError` where one is missing or of another shape; nothing is changed then.
  package func restore(_ tensors: [String: Tensor]) throws {
    guard let steps = tensors["steps"], steps.elementType == .int64, steps.shape == [] else {
      throw TrainingError(.mismatchedState, "the optimiser's number of steps is missing")
    }
    let count = steps.elements(of: Int64.self)[0]
    guard (0...1 << 40).contains(count) else {
      throw TrainingError(.mismatchedState, "the optimiser cannot have made \(count) steps")
    }
    var found: [(TensorStorage, Tensor)] = []
    for entry in entries {
      for (name, moment) in zip(optimizer.momentNames, entry.moments) {
        guard let tensor = tensors["\(name)/\(entry.name)"],
          tensor.elementType == .float32, tensor.shape == entry.shape
        else {
          throw TrainingError(
            .mismatchedState,
            "the optimiser's \(name) of \(entry.name), float32 \(entry.shape), is missing")
        }
        found.append((moment, tensor))
      }
    }
    for (moment, tensor) in found {
      tensor.withBytes { bytes in
        guard let start = bytes.baseAddress else { return }
        moment.base.copyMemory(from: start, byteCount: bytes.count)
      }
    }
    stepCount = Int(count)
  }

  private static func bytes(of storage: TensorStorage) -> UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(start: storage.base, count: storage.byteCount)
  }
}
