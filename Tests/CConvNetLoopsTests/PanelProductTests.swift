import CConvNetLoops
import Testing

extension LoopTests {
  @Suite struct PanelProductTests {
    /// Whole numbers, so exactly; every way to block rows and every width of a panel.
    @Test(arguments: Variant.all, [1, 2, 3, 4, 5, 6, 7, 9, 12, 13, 16, 31])
    func product(variant: Variant, rows: Int) {
      variant.select()
      defer { Variant.deselect() }
      var noise = Noise(50)
      for (columns, depth) in zip(1...64, (0..<64).map { $0 * 7 % 37 }) {
        let (aRow, bRow, cRow) = (depth + 3, columns + depth % 3, columns + 5)
        let a = noise.integers(rows * aRow)
        let b = noise.integers(depth * bRow)
        let before = noise.integers(rows * cRow)
        for accumulates in [false, true] {
          var want = before.map(Double.init)
          for r in 0..<rows {
            for n in 0..<columns {
              var sum = accumulates ? want[r * cRow + n] : 0
              for k in 0..<depth { sum += Double(a[r * aRow + k] * b[k * bRow + n]) }
              want[r * cRow + n] = sum
            }
          }
          let c = Buffer(before)
          let aBuffer = Buffer(a)
          cnl_panel_product(
            c.pointer, cRow, aBuffer.pointer, aRow, Buffer(b).pointer, bRow, rows, depth,
            columns, accumulates ? 1 : 0, accumulates ? aBuffer.pointer : c.pointer)
          check(c, want, "\(rows) × \(depth) × \(columns), accumulates \(accumulates)")
        }
      }
    }

    /// The same of transposed rows, whatever is asked for meanwhile.
    @Test(arguments: Variant.all, [1, 2, 5, 6, 7, 12, 13, 31, 100])
    func transposedProduct(variant: Variant, rows: Int) {
      variant.select()
      defer { Variant.deselect() }
      var noise = Noise(52)
      for (columns, depth) in zip(1...64, (0..<64).map { $0 * 7 % 37 }) {
        let (aRow, bRow, cRow) = (rows + depth % 3, columns + 3, columns + 5)
        let a = noise.integers(depth * aRow)
        let b = noise.integers(depth * bRow)
        let before = noise.integers(rows * cRow)
        for accumulates in [false, true] {
          var want = before.map(Double.init)
          for r in 0..<rows {
            for n in 0..<columns {
              var sum = accumulates ? want[r * cRow + n] : 0
              for k in 0..<depth { sum += Double(a[k * aRow + r] * b[k * bRow + n]) }
              want[r * cRow + n] = sum
            }
          }
          let (c, aBuffer, bBuffer) = (Buffer(before), Buffer(a), Buffer(b))
          let aRows: [UnsafePointer<Float>?] = (0..<depth).map {
            UnsafePointer(aBuffer.pointer) + ($0 * aRow - 3)
          }
          aRows.withUnsafeBufferPointer { aRows in
            var now = cnl_operands(
              aRows: aRows.baseAddress, aOffset: 3, b: bBuffer.pointer, bRow: bRow)
            var next = now
            if !accumulates { next.b = UnsafePointer(c.pointer) }
            cnl_transposed_product(
              c.pointer, cRow, &now, &next, rows, depth, columns, accumulates ? 1 : 0)
          }
          check(c, want, "\(rows) × \(depth) × \(columns), accumulates \(accumulates)")
        }
      }
    }

    /// A row's bits depend neither on how many rows there are nor on where it stands.
    @Test(arguments: Variant.all)
    func rowsAreIndependent(variant: Variant) {
      variant.select()
      defer { Variant.deselect() }
      var noise = Noise(51)
      let (most, depth) = (30, 600)
      for columns in [1, 8, 17, 40, 64] {
        let a = Buffer(noise.floats(most * depth))
        let b = Buffer(noise.floats(depth * columns))
        let alone = Buffer(count: most * columns)
        for r in 0..<most {
          cnl_panel_product(
            alone.pointer + r * columns, columns, a.pointer + r * depth, depth, b.pointer, columns,
            1, depth, columns, 0, a.pointer)
        }
        for rows in 1...most {
          let c = Buffer(count: rows * columns)
          cnl_panel_product(
            c.pointer, columns, a.pointer, depth, b.pointer, columns, rows, depth, columns,
            0, a.pointer)
          #expect(c.values == Array(alone.values.prefix(rows * columns)), "\(rows) × \(columns)")
        }
      }
    }
  }
}
