import CConvNetLoops
import Testing

extension LoopTests {
  @Suite struct LineProductTests {
    /// Runs side by side, apart, many short ones that make several sums, and none.
    private static let runs = [
      cnl_runs(
        down: 2, across: 3, count: 4, aDown: 40, aAcross: 5, first: 1, bDown: 13, bAcross: 4),
      cnl_runs(down: 1, across: 1, count: 9, aDown: 0, aAcross: 0, first: 0, bDown: 0, bAcross: 0),
      cnl_runs(
        down: 3, across: 2, count: 300, aDown: 610, aAcross: 301, first: 2, bDown: 601, bAcross: 300
      ),
      cnl_runs(down: 0, across: 3, count: 4, aDown: 1, aAcross: 1, first: 0, bDown: 1, bAcross: 1),
      cnl_runs(down: 2, across: 0, count: 0, aDown: 1, aAcross: 1, first: 0, bDown: 1, bAcross: 1),
    ]

    /// Whole numbers, so exactly; every way to block rows and every width of a panel.
    @Test(arguments: Variant.all, [0, 1, 2, 3, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 27, 31])
    func product(variant: Variant, rows: Int) {
      variant.select()
      defer { Variant.deselect() }
      var noise = Noise(53)
      for columns in 1...64 {
        var runs = Self.runs[columns % Self.runs.count]
        let (aRow, bRow, cRow) = ([1, 12, 31][columns % 3], columns + columns % 4, columns + 5)
        let lines = rows > 0 ? 1 + columns % 3 : 0
        let a = noise.integers(lines * rows * aRow + 2000)
        let b = noise.integers(2000 * bRow)
        let before = noise.integers(max(lines * rows, 1) * cRow)
        var want = before.map(Double.init)
        for r in 0..<lines * rows {
          for n in 0..<columns {
            var sum = 0.0
            for i in 0..<runs.down {
              for j in 0..<runs.across {
                let from = r * aRow + i * runs.aDown + j * runs.aAcross
                let meets = runs.first + i * runs.bDown + j * runs.bAcross
                for k in 0..<runs.count {
                  sum += Double(a[from + k] * b[(meets + k) * bRow + n])
                }
              }
            }
            want[r * cRow + n] = sum
          }
        }
        let c = Buffer(before)
        cnl_line_products(
          c.pointer, rows * cRow, cRow, Buffer(a).pointer, rows * aRow, aRow, &runs,
          Buffer(b).pointer,
          bRow, lines, rows, columns)
        check(c, want, "\(rows) rows, \(columns) columns, \(lines) lines")
      }
    }

    /// A row's bits depend neither on how many rows there are nor on where it stands.
    @Test(arguments: Variant.all)
    func rowsAreIndependent(variant: Variant) {
      variant.select()
      defer { Variant.deselect() }
      var noise = Noise(54)
      let (most, depth) = (30, 600)
      var runs = cnl_runs(
        down: 3, across: 1, count: 200, aDown: 200, aAcross: 0, first: 0, bDown: 200, bAcross: 0)
      for columns in [1, 8, 17, 40, 64] {
        let a = Buffer(noise.floats(most * depth))
        let b = Buffer(noise.floats(depth * columns))
        func product(_ c: Buffer<Float>, from row: Int, rows: Int) {
          cnl_line_products(
            c.pointer + (rows == 1 ? row * columns : 0), 0, columns, a.pointer + row * depth, 0,
            depth, &runs, b.pointer, columns, 1, rows, columns)
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
