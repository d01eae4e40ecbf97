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
          cnl_panel_product(
            c.pointer, cRow, Buffer(a).pointer, aRow, Buffer(b).pointer, bRow, rows, depth,
            columns, accumulates ? 1 : 0)
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
            1, depth, columns, 0)
        }
        for rows in 1...most {
          let c = Buffer(count: rows * columns)
          cnl_panel_product(
            c.pointer, columns, a.pointer, depth, b.pointer, columns, rows, depth, columns,
            0)
          #expect(c.values == Array(alone.values.prefix(rows * columns)), "\(rows) × \(columns)")
        }
      }
    }
  }
}
