/// Everything a node can do: a closed set, each case with a struct of attributes.
///
/// An executor switches over it exhaustively, so that a missing implementation does not compile.
/// Clients of the package see nodes through read-only views; a new case breaks nobody.
///
/// Operands marked *like* lend only their shape; a planner need not keep their data.
package indirect enum Operation: Hashable, Sendable, Codable {
  /// x, w and perhaps b to y.
  case convolution(Convolution)
  /// dy, w, like x to dx.
  case convolutionInputGradient(Convolution)
  /// dy, x, like w to dw.
  case convolutionFilterGradient(Convolution)
  /// x, w and perhaps b to y.
  case transposedConvolution(TransposedConvolution)
  /// x, perhaps a mask, to count, mean and M2, in Float64.
  case batchMoments(BatchMoments)
  /// x, statistics, perhaps γ, perhaps β to y.
  case normalize(Normalize)
  /// dy, x, statistics to dβ = Σ dy and dγ = Σ dy·x̂, in Float64.
  case normalizeGradientSums(NormalizeGradient)
  /// dy, x, statistics, with batch statistics dβ and dγ, perhaps γ to dx.
  case normalizeGradientInput(NormalizeGradient)
  /// count, mean, M2, running mean and variance, limits to the factors r and d of each channel.
  case renormalize(Renormalize)
  /// x to count, mean and co-moments of groups of channels, in Float64.
  case covariance(Covariance)
  /// x, statistics to whitened x.
  case decorrelate(Decorrelate)
  /// dy, x, statistics to dx.
  case decorrelateGradient(Decorrelate)
  /// x to f(x).
  case map(UnaryFunction)
  /// a and b, broadcast, to f(a, b).
  case combine(BinaryFunction)
  /// x to its reduction over some axes.
  case reduce(Reduce)
  /// dy, like x: the adjoint of a sum or mean over axes.
  case expand(Reduce)
  /// like x: a constant of that shape.
  case fill(Double)
  /// No operand to a small tensor.
  case constant(Constant)
  /// a and b, broadcast, to a truth value.
  case compare(Comparison)
  /// A truth value, a and b, broadcast, to a or b.
  case select
  /// x to x stretched to other extents.
  case broadcast(Broadcast)
  /// x to the largest value of each window.
  case maxPool(Window)
  /// dy, x to dx.
  case maxPoolGradient(Window)
  /// x to the mean of each window.
  case averagePool(AveragePool)
  /// dy, like x to dx.
  case averagePoolGradient(AveragePool)
  /// a, b and perhaps a bias to a·b.
  case matrixMultiply(MatrixMultiply)
  /// Any number of tensors to one.
  case concatenate(Concatenate)
  /// x to a part of it.
  case slice(Slice)
  /// dy, like x to dx, zero outside the part.
  case sliceGradient(Slice)
  /// x to x with positions added around it.
  case pad(Pad)
  /// dy, like x to dx.
  case padGradient(Pad)
  /// x, indices to parts of x.
  case gather(Gather)
  /// dy, indices, like x to dx.
  case gatherGradient(Gather)
  /// x to one of its axes at another resolution.
  case resize(Resize)
  /// dy, like x to dx.
  case resizeGradient(Resize)
  /// x to the same elements under another shape.
  case reshape(Reshape)
  /// x, like y: the elements of x under the shape of y.
  case reshapeLike
  /// x to x with its axes in another order.
  case transpose(Transpose)
  /// x to the same values in another element type.
  case cast(ElementType)
  /// x, key to x with elements dropped.
  case dropout(Dropout)
  /// x to softmax over its last axis.
  case softmax
  /// logits, labels to the loss of each row.
  case softmaxCrossEntropy(SoftmaxCrossEntropy)
  /// d(loss), logits, labels to d(logits).
  case softmaxCrossEntropyGradient(SoftmaxCrossEntropy)
  /// What becomes an operation when extents are known; never met by an executor.
  case deferred(Deferred)
  /// An operation with elementwise steps applied to its result while it is in cache.
  case fused(Fused)

  /// The types of the results, given those of the operands; refuses operands that do not fit.
  package func outputTypes(_ inputs: [TensorType]) throws -> [TensorType] {
    switch self {
    case .convolution(let a): [try a.outputType(inputs)]
    case .convolutionInputGradient(let a): [try a.inputGradientType(inputs)]
    case .convolutionFilterGradient(let a): [try a.filterGradientType(inputs)]
    case .transposedConvolution(let a): [try a.outputType(inputs)]
    case .batchMoments(let a): try a.outputTypes(inputs)
    case .normalize(let a): [try a.outputType(inputs)]
    case .normalizeGradientSums(let a): try a.sumTypes(inputs)
    case .normalizeGradientInput(let a): [try a.inputType(inputs)]
    case .renormalize(let a): try a.outputTypes(inputs)
    case .covariance(let a): try a.outputTypes(inputs)
    case .decorrelate(let a): [try a.outputType(inputs)]
    case .decorrelateGradient(let a): [try a.gradientType(inputs)]
    case .map: [try mappedType(inputs)]
    case .combine(let function): [try combinedType(function, inputs)]
    case .reduce(let a): [try a.outputType(inputs)]
    case .expand(let a): [try a.expandedType(inputs)]
    case .fill: [try Operation.float(inputs, count: 1)[0]]
    case .constant(let a): [try a.outputType(inputs)]
    case .compare(let a): [try a.outputType(inputs)]
    case .select: [try selectType(inputs)]
    case .broadcast(let a): [try a.outputType(inputs)]
    case .maxPool(let a): [try a.pooledType(Operation.float(inputs, count: 1)[0])]
    case .maxPoolGradient(let a): [try a.unpooledType(inputs)]
    case .averagePool(let a): [try a.window.pooledType(Operation.float(inputs, count: 1)[0])]
    case .averagePoolGradient(let a): [try a.window.unpooledType(inputs)]
    case .matrixMultiply(let a): [try a.outputType(inputs)]
    case .concatenate(let a): [try a.outputType(inputs)]
    case .slice(let a): [try a.outputType(inputs)]
    case .sliceGradient(let a): [try a.gradientType(inputs)]
    case .pad(let a): [try a.outputType(inputs)]
    case .padGradient(let a): [try a.gradientType(inputs)]
    case .gather(let a): [try a.outputType(inputs)]
    case .gatherGradient(let a): [try a.gradientType(inputs)]
    case .resize(let a): [try a.outputType(inputs)]
    case .resizeGradient(let a): [try a.gradientType(inputs)]
    case .reshape(let a): [try a.outputType(inputs)]
    case .reshapeLike: [try Reshape.outputType(like: inputs)]
    case .transpose(let a): [try a.outputType(inputs)]
    case .cast(let type): [TensorType(type, try Operation.take(inputs, count: 1)[0].dimensions)]
    case .dropout(let a): [try a.outputType(inputs)]
    case .softmax: [try softmaxType(inputs)]
    case .softmaxCrossEntropy(let a): [try a.lossType(inputs)]
    case .softmaxCrossEntropyGradient(let a): [try a.gradientType(inputs)]
    case .deferred(let a):
      throw GraphError(.malformedGraph, "\(a.name) has no type before its operands have values")
    case .fused(let a): try a.outputTypes(inputs)
    }
  }

  /// Which operands lend only their shape.
  package var shapeOnlyInputs: Set<Int> {
    switch self {
    case .convolutionInputGradient, .convolutionFilterGradient, .gatherGradient: [2]
    case .expand, .averagePoolGradient, .sliceGradient, .reshapeLike, .padGradient,
      .resizeGradient:
      [1]
    case .fill, .deferred(.extents): [0]
    case .fused(let fused): fused.anchor.shapeOnlyInputs
    default: []
    }
  }

  /// The name of the operation, for reports and for naming nodes.
  package var name: String {
    switch self {
    case .convolution: "convolution"
    case .convolutionInputGradient: "convolutionInputGradient"
    case .convolutionFilterGradient: "convolutionFilterGradient"
    case .transposedConvolution: "transposedConvolution"
    case .batchMoments: "batchMoments"
    case .normalize: "normalize"
    case .normalizeGradientSums: "normalizeGradientSums"
    case .normalizeGradientInput: "normalizeGradientInput"
    case .renormalize: "renormalize"
    case .covariance: "covariance"
    case .decorrelate: "decorrelate"
    case .decorrelateGradient: "decorrelateGradient"
    case .map(let function): function.name
    case .combine(let function): function.name
    case .reduce(let a): "\(a.reduction.rawValue)Reduction"
    case .expand: "expand"
    case .fill: "fill"
    case .constant: "constant"
    case .compare(let comparison): comparison.rawValue
    case .select: "select"
    case .broadcast: "broadcast"
    case .maxPool: "maxPool"
    case .maxPoolGradient: "maxPoolGradient"
    case .averagePool: "averagePool"
    case .averagePoolGradient: "averagePoolGradient"
    case .matrixMultiply: "matrixMultiply"
    case .concatenate: "concatenate"
    case .slice: "slice"
    case .sliceGradient: "sliceGradient"
    case .pad: "pad"
    case .padGradient: "padGradient"
    case .gather: "gather"
    case .gatherGradient: "gatherGradient"
    case .resize: "resize"
    case .resizeGradient: "resizeGradient"
    case .reshape: "reshape"
    case .reshapeLike: "reshapeLike"
    case .transpose: "transpose"
    case .cast: "cast"
    case .dropout: "dropout"
    case .softmax: "softmax"
    case .softmaxCrossEntropy: "softmaxCrossEntropy"
    case .softmaxCrossEntropyGradient: "softmaxCrossEntropyGradient"
    case .deferred(let a): a.name
    case .fused(let a): "fused(\(a.anchor.name))"
    }
  }
}

extension Operation {
  /// The running statistics that belong to the operation's results, if any.
  package var running: RunningStatistics? {
    get {
      switch self {
      case .batchMoments(let moments): moments.running
      case .covariance(let covariance): covariance.running
      default: nil
      }
    }
    set {
      switch self {
      case .batchMoments(var moments):
        moments.running = newValue
        self = .batchMoments(moments)
      case .covariance(var covariance):
        covariance.running = newValue
        self = .covariance(covariance)
      default: break
      }
    }
  }

  /// How a training step takes the statistics that are the operation's results.
  package var batchStatistics: BatchStatistics {
    if case .batchMoments(let moments) = self { moments.statistics } else { BatchStatistics() }
  }

  /// The operands, where there are as many as needed.
  static func take(_ inputs: [TensorType], count: ClosedRange<Int>) throws -> [TensorType] {
    guard count.contains(inputs.count) else {
      throw GraphError(
        .malformedGraph,
        "takes \(count.lowerBound) to \(count.upperBound) operands, not \(inputs.count)")
    }
    return inputs
  }

  /// The operands, where there are exactly as many as needed.
  static func take(_ inputs: [TensorType], count: Int) throws -> [TensorType] {
    try take(inputs, count: count...count)
  }

  /// The operands, where there are as many as needed and all are `float32`.
  static func float(_ inputs: [TensorType], count: ClosedRange<Int>) throws -> [TensorType] {
    for input in try take(inputs, count: count) where input.elementType != .float32 {
      throw GraphError(.invalidElementType, "takes float32 operands, not \(input)")
    }
    return inputs
  }

  /// The operands, where there are exactly as many as needed and all are `float32`.
  static func float(_ inputs: [TensorType], count: Int) throws -> [TensorType] {
    try float(inputs, count: count...count)
  }
}
