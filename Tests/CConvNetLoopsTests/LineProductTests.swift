import CConvNetLoops
import Testing

extension LoopTests {
  @Suite struct LineProductTests {
    /// Three pieces of a row, one of them empty.
    private static let segments = [
      cnl_segment(a: 0, b: 2, count: 5), cnl_segment(a: 40, b: 0, count: 0),
      cnl_segment(a: 17, b: 7, count: 9), cnl_segment(a: 9, b: 1, count: 1),
    ]

    /// Whole numbers, so exactly; every way to block rows and every width of a panel.
    @Test(arguments: Variant.all, [0, 1, 2, 3, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 27, 31])
    func product(variant: Variant, rows: Int) {
      variant.select()
      defer { Variant.deselect() }
      var noise = Noise(53)
      for columns in 1...64 {
        for count in [0, Self.segments.count] {
          let (aRow, bRow, cRow) = ([1, 12, 31][columns % 3], columns + columns % 4, columns + 5)
          let lines = rows > 0 ? 1 + columns % 3 : 0
          let a = noise.integers(lines * rows * aRow + 30)
          let b = noise.integers(16 * bRow)
          let before = noise.integers(max(lines * rows, 1) * cRow)
          var want = before.map(Double.init)
          for r in 0..<lines * rows {
            for n in 0..<columns {
              want[r * cRow + n] = Self.segments.prefix(count).reduce(0) { sum, s in
                (0..<s.count).reduce(sum) {
                  $0 + Double(a[r * aRow + s.a + $1] * b[(s.b + $1) * bRow + n])
                }
              }
            }
          }
          let c = Buffer(before)
          let (aBuffer, bBuffer) = (Buffer(a), Buffer(b))
          Self.segments.withUnsafeBufferPointer {
            cnl_line_products(
              c.pointer, rows * cRow, cRow, aBuffer.pointer, rows * aRow, aRow, $0.baseAddress,
              count,
              bBuffer.pointer, bRow, lines, rows, columns)
          }
          check(c, want, "\(rows) rows, \(columns) columns, \(count) segments")
        }
      }
    }

    /// A row's bits depend neither on how many rows there are nor on where it stands.
    @Test(arguments: Variant.all)
    func rowsAreIndependent(variant: Variant) {
      variant.select()
      defer { Variant.deselect() }
      var noise = Noise(54)
      let (most, depth) = (30, 600)
      let segments = [cnl_segment(a: 0, b: 0, count: 250), cnl_segment(a: 250, b: 250, count: 350)]
      for columns in [1, 8, 17, 40, 64] {
        let a = Buffer(noise.floats(most * depth))
        let b = Buffer(noise.floats(depth * columns))
        func product(_ c: Buffer<Float>, from row: Int, rows: Int) {
          segments.withUnsafeBufferPointer {
            cnl_line_products(
              c.pointer + (rows == 1 ? row * columns : 0), 0, columns, a.pointer + row * depth, 0,
              depth,
              $0.baseAddress, 2, b.pointer, columns, 1, rows, columns)
          }
        }
        let alone = Buffer(count: most * columns)
        for row in 0..<most { product(alone, from: row, rows: 1) }
        for rows in 2...most {
          let c = Buffer(count: rows * columns)
          product(c, from: 0, rows: rows)
          #expect(c.values == Array(alone.values.prefix(rows * columns)), "\(rows) × \(columns)")
        }
      }
    }
  }
}
