import ConvNetGraph

extension ONNXOperators {
  /// Batch normalisation and its relatives.
  static let normalization: [String: ONNXOperator] = [
    "BatchNormalization": { try batchNormalization($0) },
    "InstanceNormalization": one { try instanceNormalization($0) },
    "GroupNormalization": one { try groupNormalization($0) },
    "LayerNormalization": { try layerNormalization($0) },
    "LRN": one { try localResponseNormalization($0) },
  ]

  // MARK: Batch normalisation

  /// x `[N, C, …]`, γ, β, mean and variance `[C]`.
  ///
  /// Stored statistics make a layer with running statistics. Where the node normalises by its batch and
  /// hands the new statistics out, or where they are computed, it is plain operations.
  private static func batchNormalization(
    _ node: ONNXNodeImporter
  ) throws -> [ONNXImporter.Value] {
    if try node.opset < 9 && node.int("spatial", default: 1) == 0 {
      throw node.unsupported("statistics for every position (spatial = 0)")
    }
    let isTraining = node.node.normalizesByBatch(opset: node.opset)
    let extra = node.node.outputs.dropFirst().contains {
      !$0.isEmpty && node.importer.readerCounts[$0, default: 0] > 0
    }
    if extra && (!isTraining || node.opset < 14) {
      throw node.unsupported(
        "statistics as results, other than of training from operator set 14 on")
    }
    let x = try node.input(0)
    guard node.rank(x) >= 2 else { throw node.malformed("an input without channels") }
    let scale = try node.input(1, role: .normalizationScale)
    let shift = try node.input(2, role: .normalizationShift)
    var normalize = Normalize(
      axis: 1, epsilon: try node.float("epsilon", default: 1e-5), source: .running,
      hasScale: true, hasShift: true)
    if node.isOwn(3), node.isOwn(4), !extra {
      let running = try node.runningStatistics(isTraining: isTraining)
      let moments = node.builder.add(
        .batchMoments(BatchMoments(axis: 1, running: running)), [x],
        name: node.builder.uniqueName("\(running.layer).moments"))
      normalize.source = .batch
      let y = node.builder.add(
        .normalize(normalize), [x] + moments + [scale, shift], name: running.layer)
      return [.computed(y[0])] + [ONNXImporter.Value](repeating: .missing, count: 4)
    }
    let (mean, variance) = (try node.input(3), try node.input(4))
    if !isTraining {
      return [
        .computed(try node.add(.normalize(normalize), [x, mean, variance, scale, shift])[0])
      ]
    }
    normalize.source = .batch
    let moments = try node.add(.batchMoments(BatchMoments(axis: 1)), [x])
    let y = try node.add(.normalize(normalize), [x] + moments + [scale, shift])[0]
    let keep = try node.float("momentum", default: 0.9)
    let batch = [
      moments[1], try node.combine(.divide, moments[2], moments[0]),
    ]
    let updated = try zip([mean, variance], batch).map { old, new in
      try node.combine(
        .add, node.map(.affine(scale: keep, offset: 0), old),
        node.map(.affine(scale: 1 - keep, offset: 0), node.add(.cast(.float32), new)))
    }
    return ([y] + updated).map { .computed($0) }
  }

  // MARK: Statistics of each sample

  private static func instanceNormalization(_ node: ONNXNodeImporter) throws -> Graph.ValueID {
    let x = try node.input(0)
    guard node.rank(x) > 2 else { throw node.malformed("there are no positions") }
    let y = try node.standardized(x, axes: Array(2..<node.rank(x)))
    return try node.affineByChannel(y.value, rank: node.rank(x))
  }

  /// Groups of channels; γ and β belong to groups before operator set 21, to channels from then on.
  private static func groupNormalization(_ node: ONNXNodeImporter) throws -> Graph.ValueID {
    let x = try node.input(0)
    guard let groups = try node.int("num_groups"), groups >= 1, node.rank(x) >= 2 else {
      throw node.malformed("the number of groups is missing or not positive")
    }
    guard let channels = node.builder.type(of: x).dimensions[1].extent, channels % groups == 0
    else {
      throw node.malformed(
        "the channels of \(node.builder.type(of: x)) are not in \(groups) groups")
    }
    let grouped = try node.add(.reshape(Reshape([.copy(0), .fixed(groups), .rest])), x)
    let y = try node.standardized(grouped, axes: [2])
    if node.opset < 21 {
      return try node.add(.reshapeLike, node.affineByChannel(y.value, rank: 3), x)
    }
    return try node.affineByChannel(node.add(.reshapeLike, y.value, x), rank: node.rank(x))
  }

  /// All axes from one on; the mean and 1/σ are results, too.
  private static func layerNormalization(
    _ node: ONNXNodeImporter
  ) throws -> [ONNXImporter.Value] {
    let x = try node.input(0)
    let axis = try node.axis(node.int("axis", default: -1), of: node.builder.type(of: x))
    let y = try node.standardized(x, axes: Array(axis..<node.rank(x)))
    var result = try node.combine(
      .multiply, y.value, node.input(1, role: .normalizationScale))
    if node.has(2) {
      result = try node.combine(.add, result, node.input(2, role: .normalizationShift))
    }
    return try [result, y.mean, node.map(.reciprocal, y.deviation)].map { .computed($0) }
  }

  private static func localResponseNormalization(
    _ node: ONNXNodeImporter
  ) throws -> Graph.ValueID {
    guard let size = try node.int("size") else { throw node.malformed("the size is missing") }
    let x = Graph.Value(
      builder: node.builder, id: try node.channelsLast(node.input(0)))
    let y = x.localResponseNormalization(
      size: size, alpha: try node.float("alpha", default: 1e-4),
      beta: try node.float("beta", default: 0.75), bias: try node.float("bias", default: 1))
    return try node.channelsFirst(y.id)
  }
}

extension ONNXNodeImporter {
  /// Declares the state of a batch-norm layer whose statistics are stored.
  ///
  /// In a file in training form, layers that use running statistics are frozen.
  fileprivate func runningStatistics(isTraining: Bool) throws -> RunningStatistics {
    // A layer is called as its parameters are, so that a prefix means both.
    let (scale, suffix) = (node.inputs[1], ".weight")
    let isNamed = scale.hasSuffix(suffix) && scale.count > suffix.count
    let layer = builder.uniqueName(isNamed ? String(scale.dropLast(suffix.count)) : name)
    var running = RunningStatistics(
      layer: layer, mean: node.inputs[3], variance: node.inputs[4],
      updateCount: builder.uniqueName("\(layer).num_batches_tracked"),
      decay: .keepOld(try float("momentum", default: 0.9)), estimator: .population)
    if importer.isTrainingForm && !isTraining {
      running.source = .running
      running.updates = false
    }
    let roles = [StateRole.runningMean, .runningVariance]
    for (index, role) in zip([3, 4], roles) {
      guard let data = try stored(index), data.elementType == .float32 else {
        throw unsupported("statistics that are not of float32")
      }
      importer.state[node.inputs[index]] = data
      _ = builder.addState(
        node.inputs[index], TensorType(.float32, data.shape), role: role, isReserved: true)
    }
    importer.state[running.updateCount] = Tensor(zeros: [], elementType: .int64)
    _ = builder.addState(
      running.updateCount, TensorType(.int64, [] as Shape), role: .updateCount, isReserved: true)
    return running
  }

  /// (x − μ)/σ with σ = √(variance + ε) over some axes, which μ and σ keep with extent 1.
  fileprivate func standardized(
    _ x: Graph.ValueID, axes: [Int]
  ) throws -> (value: Graph.ValueID, mean: Graph.ValueID, deviation: Graph.ValueID) {
    let average = Operation.reduce(Reduce(.mean, axes: axes, keepsAxes: true))
    let mean = try add(average, x)
    let centred = try combine(.subtract, x, mean)
    let variance = try add(average, map(.square, centred))
    let epsilon = try float("epsilon", default: 1e-5)
    let deviation = try map(.squareRoot, map(.affine(scale: 1, offset: epsilon), variance))
    return (try combine(.divide, centred, deviation), mean, deviation)
  }

  /// γ·x + β of operands 1 and 2, `[C]`, for x `[N, C, …]` of a rank.
  fileprivate func affineByChannel(_ x: Graph.ValueID, rank: Int) throws -> Graph.ValueID {
    let column = Operation.reshape(
      Reshape([.copy(0)] + [Reshape.Extent](repeating: .fixed(1), count: rank - 2)))
    let scale = try add(column, input(1, role: .normalizationScale))
    let shift = try add(column, input(2, role: .normalizationShift))
    return try combine(.add, combine(.multiply, x, scale), shift)
  }
}
