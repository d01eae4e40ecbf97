/// A tensor stretched to other extents: an extent of 1 repeats, missing axes stand in front, and a 1
/// among the new extents keeps the operand's (ONNX `Expand`).
package struct Broadcast: Hashable, Sendable, Codable {
  package var extents: [Int]

  package init(_ extents: [Int]) { self.extents = extents }

  func outputType(_ inputs: [TensorType]) throws -> TensorType {
    let x = try Operation.take(inputs, count: 1)[0]
    guard Shape.elementCount(extents) != nil else {
      throw GraphError(.invalidAttribute, "\(extents) are no extents of a tensor")
    }
    let target = TensorType(x.elementType, extents.map(Dimension.fixed))
    return TensorType(x.elementType, try TensorType.broadcast([x, target]))
  }
}
