extension Graph {
  /// Multiply-adds of the definitions of all convolutions and matrix products in a graph of concrete
  /// shapes, forward and backward: what direct loops would do, whatever an engine does instead.
  package var multiplyAddCount: Int { nodes.reduce(0) { $0 + multiplyAddCount(of: $1) } }

  /// Multiply-adds of one operation; 0 for all but convolutions and matrix products.
  package func multiplyAddCount(of node: Node) -> Int {
    func count(_ value: ValueID) -> Int { type(of: value).shape?.count ?? 0 }
    /// Every output element of a convolution is a sum over the taps and the input channels of its group.
    func work(output: ValueID, filter: ValueID) -> Int {
      let shape = type(of: filter).shape ?? []
      return count(output) * shape.dimensions.dropLast().reduce(1, *)
    }
    switch node.operation {
    case .convolution: return work(output: node.outputs[0], filter: node.inputs[1])
    case .transposedConvolution: return work(output: node.inputs[0], filter: node.inputs[1])
    case .convolutionInputGradient: return work(output: node.inputs[0], filter: node.inputs[1])
    case .convolutionFilterGradient: return work(output: node.inputs[0], filter: node.outputs[0])
    case .matrixMultiply(let multiply):
      let left = type(of: node.inputs[0]).dimensions.suffix(2)
      let inner = multiply.transposesLeft ? left.first : left.last
      return count(node.outputs[0]) * (inner?.extent ?? 0)
    case .fused(let fused):
      return multiplyAddCount(
        of: Node(
          name: node.name, operation: fused.anchor,
          inputs: Array(node.inputs.prefix(fused.anchorInputCount)), outputs: node.outputs))
    default: return 0
    }
  }
}
