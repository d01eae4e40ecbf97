import ConvNetGraph

/// Executes one operation on concrete operands.
func evaluate(
  _ operation: Operation, _ operands: [ReferenceTensor], named name: String
) throws -> [ReferenceTensor] {
  if case .fused(let fused) = operation {
    return try fused.evaluate(operands, named: name)
  }
  let types = try operation.outputTypes(operands.map(\.type))
  if case .dropout = operation {
  } else {
    // A random key may have 64 bits; numbers to compute with may not.
    for operand in operands where operand.largeIntegers != nil {
      throw GraphError(
        .invalidElementType, "the reference computes with integers up to 2⁵³ only", at: name)
    }
  }
  let results = operation.evaluate(operands, shapes: types.compactMap(\.shape))
  return zip(types, results).map { type, values in
    ReferenceTensor(values, shape: type.shape ?? [], elementType: type.elementType)
  }
}

extension Operation {
  /// The elements of the results, whose shapes are given.
  fileprivate func evaluate(_ operands: [ReferenceTensor], shapes: [Shape]) -> [[Double]] {
    let shape = shapes[0]
    func operand(_ index: Int) -> ReferenceTensor { operands[index] }
    switch self {
    case .convolution(let a): return [a.evaluate(operands, shape)]
    case .convolutionInputGradient(let a):
      return [a.evaluateInputGradient(dy: operand(0), w: operand(1), shape)]
    case .convolutionFilterGradient(let a):
      return [a.evaluateFilterGradient(dy: operand(0), x: operand(1), shape)]
    case .batchMoments(let a): return a.evaluate(operands)
    case .normalize(let a): return [a.evaluate(operands)]
    case .normalizeGradientSums(let a): return a.evaluateSums(operands)
    case .normalizeGradientInput(let a): return [a.evaluateInput(operands)]
    case .renormalize(let a): return a.evaluate(operands)
    case .covariance(let a): return a.evaluate(operand(0))
    case .decorrelate(let a): return [a.evaluate(operands)]
    case .decorrelateGradient(let a): return [a.evaluateGradient(operands)]
    case .map(let function): return [operand(0).values.map(function.value(at:))]
    case .combine(let function): return [function.evaluate(operand(0), operand(1), shape)]
    case .reduce(let a): return [a.evaluate(operand(0), shape)]
    case .expand(let a): return [a.evaluateExpansion(operand(0), shape)]
    case .fill(let value): return [[Double](repeating: value, count: shape.count)]
    case .maxPool(let window): return [window.evaluateMaximum(operand(0), shape)]
    case .maxPoolGradient(let window):
      return [window.evaluateMaximumGradient(dy: operand(0), x: operand(1))]
    case .averagePool(let a): return [a.evaluate(operand(0), shape)]
    case .averagePoolGradient(let a): return [a.evaluateGradient(dy: operand(0), shape)]
    case .matrixMultiply(let a): return [a.evaluate(operands, shape)]
    case .concatenate(let a): return [a.evaluate(operands, shape)]
    case .slice(let a): return [a.evaluate(operand(0), shape)]
    case .sliceGradient(let a): return [a.evaluateGradient(dy: operand(0), shape)]
    case .reshape, .reshapeLike: return [operand(0).values]
    case .transpose(let a): return [a.evaluate(operand(0), shape)]
    case .cast(let type): return [operand(0).cast(to: type)]
    case .dropout(let a): return [a.evaluate(operand(0), key: operand(1))]
    case .softmax: return [evaluateSoftmax(operand(0))]
    case .softmaxCrossEntropy(let a): return [a.evaluate(operand(0), labels: operand(1))]
    case .softmaxCrossEntropyGradient(let a):
      return [a.evaluateGradient(of: operand(0), operand(1), labels: operand(2))]
    case .transposedConvolution(let a): return [a.evaluate(operands, shape)]
    case .resize(let a): return [a.evaluate(operand(0), shape)]
    case .resizeGradient(let a): return [a.evaluateGradient(dy: operand(0), shape)]
    case .constant(let a): return [a.tensor.doubles]
    case .compare(let comparison): return [comparison.evaluate(operand(0), operand(1), shape)]
    case .select: return [evaluateSelect(operands, shape)]
    case .broadcast: return [operand(0).stretched(to: shape)]
    case .pad(let a): return [a.evaluate(operand(0), shape)]
    case .padGradient(let a): return [a.evaluateGradient(dy: operand(0), shape)]
    case .gather(let a): return [a.evaluate(operand(0), indices: operand(1), shape)]
    case .gatherGradient(let a):
      return [a.evaluateGradient(dy: operand(0), indices: operand(1), shape)]
    case .deferred: fatalError("A graph of concrete shapes has no deferred operations.")
    case .fused: fatalError("A fused node is interpreted by its members.")
    }
  }
}

extension Fused {
  /// The prologue, the anchor, then every step on its first result.
  fileprivate func evaluate(
    _ operands: [ReferenceTensor], named name: String
  ) throws -> [ReferenceTensor] {
    var own = Array(operands.prefix(anchorInputCount))
    if let prologue {
      let normalized = try ConvNetReference.evaluate(
        .normalize(prologue.normalize),
        prologue.normalizeInputs(operands, anchorInputCount: anchorInputCount), named: name)
      own[0] = try ConvNetReference.evaluate(
        .combine(.derivative(prologue.function)), [own[0], normalized[0]], named: name)[0]
    }
    var results = try ConvNetReference.evaluate(anchor, own, named: name)
    var others = operands.dropFirst(anchorInputCount + (prologue?.inputCount ?? 0))
    for step in epilogue {
      var taken = [results[0]]
      if case .combine = step, let other = others.popFirst() { taken.append(other) }
      results[0] = try ConvNetReference.evaluate(step.operation, taken, named: name)[0]
    }
    return results
  }
}
