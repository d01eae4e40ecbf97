import ConvNetGraph

extension PlanCompiler {
  /// y = whether a and b, broadcast, are so related.
  mutating func emitCompare(_ comparison: Comparison) throws {
    let loops = BroadcastLoops(
      result: shape(node.outputs[0]), a: shape(node.inputs[0]), b: shape(node.inputs[1]))
    try emitPlain(loops, comparison.row(of: graph.type(of: node.inputs[0]).elementType))
  }

  /// y = condition ? a : b, all broadcast.
  mutating func emitSelect() throws {
    let shapes = node.inputs.map { shape($0) }
    let loops = BroadcastLoops(
      result: shape(node.outputs[0]), a: shapes[0], b: shapes[1], c: shapes[2])
    switch graph.type(of: node.outputs[0]).elementType.byteCount {
    case 1: try emitPlain(loops, PlainRow.select(UInt8.self))
    case 4: try emitPlain(loops, PlainRow.select(UInt32.self))
    default: try emitPlain(loops, PlainRow.select(UInt64.self))
    }
  }
}

extension PlainRow {
  /// y[i] = a[i] ? b[i] : c[i], of bits as they are.
  fileprivate static func select<Bits: FixedWidthInteger & BitwiseCopyable & Sendable>(
    _ type: Bits.Type
  ) -> Body {
    { row in
      let y = row.y.assumingMemoryBound(to: Bits.self)
      let condition = row.a.assumingMemoryBound(to: UInt8.self)
      let a = row.b.assumingMemoryBound(to: Bits.self)
      let b = row.c.assumingMemoryBound(to: Bits.self)
      for i in 0..<row.count {
        y[i] = condition[i * row.aStep] != 0 ? a[i * row.bStep] : b[i * row.cStep]
      }
    }
  }
}

extension Comparison {
  /// The relation over a row of an element type.
  fileprivate func row(of type: ElementType) -> PlainRow.Body {
    switch type {
    case .float32: row(of: Float.self)
    case .float64: row(of: Double.self)
    case .int64: row(of: Int64.self)
    case .int32: row(of: Int32.self)
    case .uint8, .bool: row(of: UInt8.self)
    }
  }

  private func row<Operand: Comparable & BitwiseCopyable & Sendable>(
    of type: Operand.Type
  ) -> PlainRow.Body {
    switch self {
    case .equal: PlainRow.body { (a: Operand, b: Operand) in a == b }
    case .less: PlainRow.body { (a: Operand, b: Operand) in a < b }
    case .lessOrEqual: PlainRow.body { (a: Operand, b: Operand) in a <= b }
    case .greater: PlainRow.body { (a: Operand, b: Operand) in a > b }
    case .greaterOrEqual: PlainRow.body { (a: Operand, b: Operand) in a >= b }
    case .and: PlainRow.body { (a: UInt8, b: UInt8) in a != 0 && b != 0 }
    case .or: PlainRow.body { (a: UInt8, b: UInt8) in a != 0 || b != 0 }
    case .exclusiveOr: PlainRow.body { (a: UInt8, b: UInt8) in (a != 0) != (b != 0) }
    }
  }
}
