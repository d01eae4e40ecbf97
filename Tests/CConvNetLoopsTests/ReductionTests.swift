import CConvNetLoops
import Testing

extension LoopTests {
  @Suite struct ReductionTests {
    @Test(arguments: Variant.all)
    func wholeArrays(variant: Variant) {
      variant.select()
      defer { Variant.deselect() }
      var noise = Noise(6)
      for n in LoopTests.sizes + [4095, 4096, 4097, 10_000] {
        let values = noise.integers(n)
        let x = Buffer(values)
        #expect(cnl_sum(x.pointer, n) == values.reduce(0) { $0 + Double($1) }, "sum of \(n)")
        let squares = values.reduce(0) { $0 + Double($1 * $1) }
        #expect(cnl_sum_of_squares(x.pointer, n) == squares, "squares of \(n)")
        #expect(cnl_extreme(x.pointer, n, 1) == values.max() ?? -.infinity, "maximum of \(n)")
        #expect(cnl_extreme(x.pointer, n, 0) == values.min() ?? .infinity, "minimum of \(n)")
        #expect(cnl_all_finite(x.pointer, n) == 1)
      }
    }

    @Test(arguments: Variant.all, [Float.nan, .infinity, -.infinity])
    func oneBadElementIsSeenAnywhere(variant: Variant, bad: Float) {
      variant.select()
      defer { Variant.deselect() }
      for i in 0..<130 {
        var values = [Float](repeating: 1, count: 130)
        values[i] = bad
        let x = Buffer(values)
        #expect(cnl_all_finite(x.pointer, 130) == 0)
        if bad.isNaN {
          #expect(cnl_extreme(x.pointer, 130, 1).isNaN && cnl_extreme(x.pointer, 130, 0).isNaN)
          #expect(cnl_sum(x.pointer, 130).isNaN)
        }
      }
    }

    /// 2²⁴ + 1 added n times one by one would stick; blocks merged in Double do not.
    @Test(arguments: Variant.all)
    func longSumsKeepTheirDigits(variant: Variant) {
      variant.select()
      defer { Variant.deselect() }
      let n = 200_000
      let x = Buffer([Float](repeating: 0.1, count: n))
      let exact = Double(Float(0.1)) * Double(n)
      // At most 4096/4/8 + 4 roundings of a lane's sum, whatever n is.
      #expect(abs(cnl_sum(x.pointer, n) - exact) <= 132 * 0x1p-24 * exact)
    }

    @Test(arguments: Variant.all, LoopTests.channels)
    func rows(variant: Variant, columns: Int) {
      variant.select()
      defer { Variant.deselect() }
      var noise = Noise(7)
      for rows in [0, 1, 3, 8, 33, 128, 260] {
        for row in [columns, columns + 3] {
          let values = noise.integers(rows * row)
          let x = Buffer(values)
          var want = [Double](repeating: 0, count: columns)
          for r in 0..<rows {
            for c in 0..<columns { want[c] += Double(values[r * row + c]) }
          }
          let sums = Buffer([Double](repeating: 5, count: columns), canary: 99)
          cnl_sum_rows(sums.pointer, x.pointer, row, rows, columns)
          #expect(sums.isIntact && sums.values == want, "\(rows)×\(columns) of \(row)")
          let parts = Buffer(count: columns)
          cnl_sum_parts(parts.pointer, x.pointer, row, rows, columns)
          check(parts, want, "parts \(rows)×\(columns) of \(row)")
          if rows == 0 { continue }
          for maximum in [0, 1] {
            let want = (0..<columns).map { c in
              let column = (0..<rows).map { Double(values[$0 * row + c]) }
              return (maximum == 1 ? column.max() : column.min()) ?? .nan
            }
            let y = Buffer(count: columns)
            cnl_extreme_rows(y.pointer, x.pointer, row, rows, columns, Int32(maximum))
            check(y, want, "extreme of \(rows)×\(columns)")
          }
          x.pointer[(rows - 1) * row + columns / 2] = .nan
          let y = Buffer(count: columns)
          cnl_extreme_rows(y.pointer, x.pointer, row, rows, columns, 1)
          #expect((0..<columns).allSatisfy { y.pointer[$0].isNaN == ($0 == columns / 2) })
        }
      }
    }

    /// More columns than one group of 1024.
    @Test(arguments: Variant.all)
    func manyColumns(variant: Variant) {
      variant.select()
      defer { Variant.deselect() }
      let columns = 2100
      let x = Buffer((0..<3 * columns).map { Float($0 % 1000) })
      let sums = Buffer([Double](repeating: 0, count: columns), canary: 99)
      cnl_sum_rows(sums.pointer, x.pointer, columns, 3, columns)
      let want = (0..<columns).map { c in
        (0..<3).reduce(0.0) { $0 + Double(x.pointer[$1 * columns + c]) }
      }
      #expect(sums.isIntact && sums.values == want)
    }
  }
}
