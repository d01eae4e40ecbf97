import CConvNetLoops
import Glibc
import Testing

extension LoopTests {
  @Suite struct CombineTests {
    private static func reference(_ f: cnl_binary, _ a: Double, _ b: Double) -> Double {
      switch f {
      case CNL_ADD: a + b
      case CNL_SUBTRACT: a - b
      case CNL_MULTIPLY: a * b
      case CNL_DIVIDE: a / b
      case CNL_MAXIMUM: a.isNaN || b.isNaN ? .nan : max(a, b)
      case CNL_MINIMUM: a.isNaN || b.isNaN ? .nan : min(a, b)
      default: pow(a, b)
      }
    }

    private static let functions = [
      CNL_ADD, CNL_SUBTRACT, CNL_MULTIPLY, CNL_DIVIDE, CNL_MAXIMUM, CNL_MINIMUM, CNL_POWER,
    ]

    @Test(arguments: Variant.all)
    func broadcasting(variant: Variant) {
      variant.select()
      defer { Variant.deselect() }
      var noise = Noise(4)
      for f in Self.functions {
        for columns in [0, 1, 3, 16, 17, 65] {
          for (rows, spread) in [(1, 0), (3, 0), (3, 2)] {
            for (aRow, aColumn) in [(columns + spread, 1), (0, 1), (1, 0), (0, 0)] {
              for (bRow, bColumn) in [(columns + spread, 1), (0, 1), (1, 0), (0, 0)] {
                let size = 3 * (columns + 2) + 3
                let a = noise.integers(size).map { f == CNL_POWER ? abs($0) : $0 }
                let b = noise.integers(size).map { f == CNL_DIVIDE && $0 == 0 ? 3 : $0 }
                let yRow = columns + spread
                var want = [Double](repeating: 7_654_321, count: rows * yRow)
                for r in 0..<rows {
                  for c in 0..<columns {
                    let u = Double(a[r * aRow + c * aColumn])
                    let v = Double(b[r * bRow + c * bColumn])
                    want[r * yRow + c] = Self.reference(f, u, v)
                  }
                }
                let y = Buffer(count: rows * yRow)
                cnl_combine(
                  Int32(f.rawValue), y.pointer, yRow, Buffer(a).pointer, aRow, aColumn,
                  Buffer(b).pointer, bRow, bColumn, rows, columns)
                check(
                  y, want, "\(f) \(rows)×\(columns) strides \(aRow),\(aColumn) \(bRow),\(bColumn)",
                  bound: f == CNL_DIVIDE || f == CNL_POWER ? ulps(1) : { _, _ in 0 })
              }
            }
          }
        }
      }
    }

    @Test(arguments: Variant.all)
    func maximumAndMinimumPropagateNaN(variant: Variant) {
      variant.select()
      defer { Variant.deselect() }
      for f in [CNL_MAXIMUM, CNL_MINIMUM] {
        let a = Buffer([Float.nan, 1, .nan, 2, -.infinity] + [Float](repeating: 0, count: 16))
        let b = Buffer([1, Float.nan, .nan, 3, 0] + [Float](repeating: .nan, count: 16))
        let want = (0..<21).map { Self.reference(f, Double(a.pointer[$0]), Double(b.pointer[$0])) }
        let code = Int32(f.rawValue)
        cnl_combine(code, a.pointer, 21, a.pointer, 21, 1, b.pointer, 21, 1, 1, 21)
        check(a, want, "\(f), in place")
      }
    }

    @Test(arguments: Variant.all)
    func movements(variant: Variant) {
      variant.select()
      defer { Variant.deselect() }
      var noise = Noise(5)
      for n in LoopTests.sizes {
        let x = noise.integers(n)
        let before = noise.integers(n)
        let y = Buffer(before)
        cnl_accumulate(y.pointer, Buffer(x).pointer, n)
        check(y, zip(before, x).map { Double($0 + $1) }, "accumulate \(n)")
        cnl_fill(y.pointer, 2.5, n)
        check(y, Array(repeating: 2.5, count: n), "fill \(n)")
        let doubles = Buffer(Array(repeating: 0, count: n), canary: 99.0)
        cnl_to_double(doubles.pointer, Buffer(x).pointer, n)
        #expect(doubles.isIntact && doubles.values == x.map(Double.init))
        cnl_to_float(y.pointer, doubles.pointer, n)
        check(y, doubles.values, "to float \(n)")
      }
      for (columns, yRow, xRow) in [(5, 5, 5), (17, 20, 17), (16, 16, 33), (0, 3, 3)] {
        let x = noise.integers(4 * xRow)
        let y = Buffer(count: 4 * yRow)
        cnl_copy_rows(y.pointer, yRow, Buffer(x).pointer, xRow, 4, columns)
        let want = (0..<4 * yRow).map { i in
          i % yRow < columns ? Double(x[i / yRow * xRow + i % yRow]) : 7_654_321
        }
        check(y, want, "copy rows of \(columns)")
      }
    }
  }
}
