/// Whose running statistics a recurrent batch norm keeps.
public enum RecurrentStatistics: Hashable, Sendable {
  /// Each time step's own (Cooijmans et al. 2017, section 3).
  case perStep
  /// One set for all time steps, as a single layer that is called again and again would keep. The inputs'
  /// products are then normalised over all steps together; training still normalises hidden state and
  /// cell with the statistics of each step, so that inference, which cannot, is another network.
  case shared
}

/// What a recurrent layer gives.
public enum RecurrentOutput: Hashable, Sendable {
  /// The hidden state after the last time step, `[N, units]`.
  case last
  /// The hidden states of all time steps, `[N, T, units]`.
  case sequence
}

extension Graph.Value {
  /// Long short-term memory over `[N, T, C]`, with or without recurrent batch normalisation (Hochreiter &
  /// Schmidhuber 1997; Cooijmans, Ballas, Laurent, Gülçehre & Courville 2017, equations 6 to 8).
  ///
  ///     (f, i, o, g) = BN(h[t−1]·Wh; γh) + BN(x[t]·Wx; γx) + b
  ///     c[t] = σ(f + forgetBias)·c[t−1] + σ(i)·tanh(g)
  ///     h[t] = σ(o)·tanh(BN(c[t]; γc, βc))          h[−1] = c[−1] = 0
  ///
  /// The graph is unrolled: every time step is operations of its own, T is fixed, and gradients flow
  /// through all of it. γ and β are the same for all steps; with `.perStep` statistics are each step's own,
  /// because those of the first steps differ much from later ones (section 3 of the paper). The products
  /// have no β: b does its work. In the first step h·Wh and σ(f)·c are 0 and left out, so that nothing
  /// constant is normalised.
  ///
  /// Parameters: `input.weight` `[C, 4·units]`, `hidden.weight` `[units, 4·units]` and `bias` `[4·units]`,
  /// the gates in the order f, i, o, g. With batch norm `input_norm.weight`, `hidden_norm.weight` (γ,
  /// `[4·units]`), `cell_norm.weight` and `cell_norm.bias` (`[units]`), and as state running statistics. With
  /// `.perStep` these are of the input's product `[T·4·units]` and, numbered by time step, of the hidden
  /// state's product `[4·units]` and of the cell `[units]`; with `.shared` there is one set each, `[4·units]`
  /// of both products and `[units]` of the cell. The paper starts γ at 0.1, where tanh passes gradients on:
  /// `model.settingRecurrentScales(to: 0.1)`.
  ///
  /// - Parameters:
  ///   - units: the extent of the hidden state and of the cell; like the time steps up to 2²⁰.
  ///   - batchNormalization: how the three places are normalised; not at all by default.
  ///   - statistics: whose running statistics are kept.
  ///   - forgetBias: added to f; 1 lets cells remember at first (Jozefowicz et al. 2015).
  ///   - output: the last hidden state or all.
  ///   - name: the layer's name; `lstm1`, … by default.
  public func lstm(
    _ units: Int, batchNormalization: BatchNormalizationOptions? = nil,
    statistics: RecurrentStatistics = .perStep, forgetBias: Double = 1,
    output: RecurrentOutput = .last, name: String? = nil
  ) -> Graph.Value {
    let layer = builder.layerName(name, base: "lstm")
    guard type.rank == 3, let steps = type.dimensions[1].extent, Self.lstmSizes ~= steps,
      Self.lstmSizes ~= units
    else {
      builder.fail(
        GraphError(
          .invalidShape, "\(units) units cannot follow the time steps of \(type)", at: layer))
      return self
    }
    let cell = MemoryCell(
      builder, layer: layer, units: units, options: batchNormalization, statistics: statistics,
      forgetBias: forgetBias)
    let products = cell.inputProducts(of: self, steps: steps)
    var state: MemoryCell.State?
    var hidden: [Graph.Value] = []
    for step in 0..<steps {
      let product = products.sliced(axis: 1, step..<step + 1).reshaped([4 * units])
      let next = cell.advance(state, product, step: step)
      state = next
      hidden.append(next.hidden)
    }
    guard output == .sequence else { return hidden[steps - 1] }
    let rows = hidden.map { $0.reshaped([1, units]).id }
    return Graph.Value(
      builder: builder,
      id: builder.add(.concatenate(Concatenate(axis: 1)), rows, name: "\(layer).sequence")[0])
  }

  /// The time steps and units that there may be, so that their products can be counted.
  private static var lstmSizes: ClosedRange<Int> { 1...1 << 20 }

  /// Normalises with given running statistics, γ and β.
  fileprivate func normalized(
    _ options: BatchNormalizationOptions, as layer: String, running: RunningStatistics?,
    scale: Graph.Value? = nil, shift: Graph.Value? = nil
  ) -> Graph.Value {
    let moments = builder.add(
      .batchMoments(BatchMoments(axis: -1, running: running)), [id], name: "\(layer).moments")
    let normalize = Normalize(
      axis: -1, epsilon: options.epsilon, source: .batch, hasScale: scale != nil,
      hasShift: shift != nil)
    let affine = [scale, shift].compactMap { $0?.id }
    return Graph.Value(
      builder: builder,
      id: builder.add(.normalize(normalize), [id] + moments + affine, name: layer)[0])
  }
}

/// One long short-term memory while it is unrolled.
private struct MemoryCell {
  /// What is normalised at every time step.
  enum Place: String {
    case hidden = "hidden_norm"
    case cell = "cell_norm"
  }

  struct State {
    var hidden: Graph.Value
    var cell: Graph.Value
  }

  let builder: GraphBuilder
  let layer: String
  let units: Int
  let options: BatchNormalizationOptions?
  let statistics: RecurrentStatistics
  let forgetBias: Double
  private let hiddenWeight: Graph.Value
  private let bias: Graph.Value
  private let inputScale: Graph.Value?
  private let hiddenScale: Graph.Value?
  private let cellScale: Graph.Value?
  private let cellShift: Graph.Value?
  /// The running statistics that all time steps move, where they do.
  private var shared: [Place: RunningStatistics] = [:]

  init(
    _ builder: GraphBuilder, layer: String, units: Int, options: BatchNormalizationOptions?,
    statistics: RecurrentStatistics, forgetBias: Double
  ) {
    func parameter(_ name: String, _ shape: [Int], _ role: ParameterRole) -> Graph.Value {
      Graph.Value(
        builder: builder, id: builder.addParameter("\(layer).\(name)", shape, role: role))
    }
    (self.builder, self.layer, self.units) = (builder, layer, units)
    (self.options, self.statistics, self.forgetBias) = (options, statistics, forgetBias)
    hiddenWeight = parameter("hidden.weight", [units, 4 * units], .denseWeight)
    bias = parameter("bias", [4 * units], .bias)
    let (hasScale, hasShift) = (options?.scale ?? false, options?.shift ?? false)
    func scale(_ name: String, _ extent: Int) -> Graph.Value? {
      hasScale ? parameter("\(name).weight", [extent], .normalizationScale) : nil
    }
    inputScale = scale("input_norm", 4 * units)
    hiddenScale = scale("hidden_norm", 4 * units)
    cellScale = scale("cell_norm", units)
    cellShift = hasShift ? parameter("cell_norm.bias", [units], .normalizationShift) : nil
    guard let options, statistics == .shared, options.tracksRunningStatistics else { return }
    for (place, rows) in [(Place.hidden, 4 * units), (.cell, units)] {
      shared[place] = bias.runningStatistics(options, "\(layer).\(place.rawValue)", [rows])
    }
  }

  /// BN(x[t]·Wx; γx) + b of all time steps at once, `[N, T, 4·units]`.
  ///
  /// As `[N, T·4·units]` every time step has channels, and so statistics, of its own.
  func inputProducts(of x: Graph.Value, steps: Int) -> Graph.Value {
    var products = x.dense(4 * units, bias: false, name: "\(layer).input")
    if let options {
      if statistics == .perStep { products = products.reshaped([steps * 4 * units]) }
      let place = "\(layer).input_norm"
      products = products.normalized(
        options, as: place, running: running(place, products, options))
      if statistics == .perStep { products = products.reshaped([steps, 4 * units]) }
      if let inputScale { products = products * inputScale }
    }
    return products + bias
  }

  /// Declares running statistics for a value.
  private func running(
    _ place: String, _ value: Graph.Value, _ options: BatchNormalizationOptions
  ) -> RunningStatistics? {
    guard options.tracksRunningStatistics else { return nil }
    return value.runningStatistics(options, place, [value.channels(for: place)])
  }

  /// Normalises a value of one time step.
  private func normalized(
    _ value: Graph.Value, _ place: Place, step: Int, scale: Graph.Value?,
    shift: Graph.Value? = nil
  ) -> Graph.Value {
    guard let options else { return value }
    let name = "\(layer).\(place.rawValue)"
    let running =
      statistics == .shared
      ? shared[place] : self.running("\(name).\(step)", value, options)
    return value.normalized(
      options, as: "\(name).\(step)", running: running, scale: scale, shift: shift)
  }

  /// The next state, of the state before, if any, and the input's product `[N, 4·units]`.
  func advance(_ state: State?, _ product: Graph.Value, step: Int) -> State {
    var gates = product
    if let state {
      let recurrent = state.hidden.apply(.matrixMultiply(MatrixMultiply()), hiddenWeight)
      gates = gates + normalized(recurrent, .hidden, step: step, scale: hiddenScale)
    }
    func gate(_ index: Int) -> Graph.Value {
      gates.sliced(axis: -1, index * units..<(index + 1) * units)
    }
    var cell = gate(1).sigmoid() * gate(3).tanh()
    if let state { cell = (gate(0) + forgetBias).sigmoid() * state.cell + cell }
    let exposed = normalized(cell, .cell, step: step, scale: cellScale, shift: cellShift)
    return State(hidden: gate(2).sigmoid() * exposed.tanh(), cell: cell)
  }
}

extension Model {
  /// The model with the γ of every recurrent batch norm at a number, such as 0.1.
  ///
  /// At 1, tanh saturates and hardly passes gradients on (Cooijmans et al. 2017, section 4). A model without
  /// recurrent batch norm stays as it is.
  ///
  /// - Throws: `GraphError` as `Model.init`, which new γ of the same shapes never cause.
  public func settingRecurrentScales(to value: Float) throws -> Model {
    let ends = [".input_norm.weight", ".hidden_norm.weight", ".cell_norm.weight"]
    var parameters = parameters
    for parameter in graph.parameterViews
    where parameter.role == .normalizationScale && ends.contains(where: parameter.name.hasSuffix) {
      parameters[parameter.name] = Tensor(repeating: value, shape: parameter.type.shape ?? [])
    }
    return try Model(graph: graph, parameters: parameters, state: state, metadata: metadata)
  }
}
