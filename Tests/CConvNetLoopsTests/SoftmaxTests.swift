import CConvNetLoops
import Glibc
import Testing

extension LoopTests {
  @Suite struct SoftmaxTests {
    private static func softmax(_ row: [Double]) -> [Double] {
      let m = row.max() ?? 0
      let e = row.map { exp($0 - m) }
      let sum = e.reduce(0, +)
      return e.map { $0 / sum }
    }

    @Test(arguments: Variant.all, LoopTests.sizes.dropFirst())
    func valuesAndGradients(variant: Variant, columns: Int) {
      variant.select()
      defer { Variant.deselect() }
      var noise = Noise(50)
      let rows = 5
      for smoothing in [Float(0), 0.125] {
        // Multiples of 1/8, so that x − m is exact.
        let x = noise.integers(rows * columns, limit: 60).map { $0 / 8 }
        let dloss = noise.integers(rows)
        let labels = (0..<rows).map { _ in Int64(noise.next() % UInt64(columns)) }
        var y: [Double] = []
        var loss: [Double] = []
        var dx: [Double] = []
        for r in 0..<rows {
          let p = Self.softmax(x[r * columns..<(r + 1) * columns].map(Double.init))
          let q = (0..<columns).map { c in
            (Int64(c) == labels[r] ? 1 - Double(smoothing) : 0) + Double(smoothing)
              / Double(columns)
          }
          y += p
          loss.append(-zip(p, q).reduce(0) { $0 + $1.1 * log($1.0) })
          dx += zip(p, q).map { ($0 - $1) * Double(dloss[r]) }
        }
        let xs = Buffer(x)
        let output = Buffer(count: rows * columns)
        cnl_softmax(output.pointer, xs.pointer, rows, columns)
        // exp: 1 ulp, twice; lanes' sums: columns/4 + 4 roundings; the scale and product: 2.
        let relative = Double(columns / 4 + 8) * 0x1p-24
        check(output, y, "softmax of \(columns)") { _, want in 2 * relative * want + 1e-38 }
        let losses = Buffer(count: rows)
        cnl_cross_entropy(losses.pointer, xs.pointer, labels, smoothing, rows, columns)
        // ln(1 + δ) ≈ δ, and the sum of the x − m, each at most 15.
        check(losses, loss, "cross entropy of \(columns)") { _, want in
          2 * relative + 15 * relative * Double(smoothing) + 0x1p-23 * want
        }
        let gradient = Buffer(count: rows * columns)
        cnl_cross_entropy_gradient(
          gradient.pointer, Buffer(dloss).pointer, xs.pointer, labels, smoothing, rows, columns)
        check(gradient, dx, "gradient of \(columns)") { _, _ in 4 * (2 * relative + 0x1p-22) }
      }
    }

    @Test(arguments: Variant.all)
    func edges(variant: Variant) {
      variant.select()
      defer { Variant.deselect() }
      let x = Buffer([1000, 999, -Float.infinity, 1, Float.nan, 2])
      let y = Buffer(count: 6)
      cnl_softmax(y.pointer, x.pointer, 2, 3)
      #expect(abs(y.pointer[0] - 0.7310586) < 1e-6 && y.pointer[2] == 0)
      #expect((3..<6).allSatisfy { y.pointer[$0].isNaN })
      let loss = Buffer(count: 2)
      cnl_cross_entropy(loss.pointer, x.pointer, [0, 1], 0, 2, 3)
      #expect(abs(loss.pointer[0] - 0.3132617) < 1e-6 && loss.pointer[1].isNaN)
      for label in [-1, 3, Int64.max, Int64.min] {
        cnl_cross_entropy(loss.pointer, x.pointer, [label], 0, 1, 3)
        #expect(loss.pointer[0].isNaN && loss.isIntact)
        cnl_cross_entropy_gradient(y.pointer, loss.pointer, x.pointer, [label], 0, 1, 3)
        #expect((0..<3).allSatisfy { y.pointer[$0].isNaN } && y.isIntact)
      }
    }
  }
}
