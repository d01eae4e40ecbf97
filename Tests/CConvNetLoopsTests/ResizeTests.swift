import CConvNetLoops
import Testing

extension LoopTests {
  @Suite struct ResizeTests {
    /// No tap, one of weight 1, one of another, two, and more.
    @Test(arguments: Variant.all, sizes)
    func weightedRows(variant: Variant, inner: Int) {
      variant.select()
      defer { Variant.deselect() }
      var noise = Noise(50)
      let inputs = 5
      let starts = [0, 0, 1, 2, 4, 9, 9, 10]
      let indices = [3, 0, 1, 4, 0, 1, 2, 3, 4, 2]
      let weights: [Float] = [1, 0.5, 0.25, 0.75, 1, -2, 3, 0.5, 1, 1]
      let x = noise.integers(inputs * inner)
      var y = [Double](repeating: 7, count: (starts.count - 1) * inner)
      for o in 0..<(starts.count - 1) where starts[o] < starts[o + 1] {
        for i in 0..<inner {
          y[o * inner + i] = (starts[o]..<starts[o + 1]).reduce(0) {
            $0 + Double(weights[$1]) * Double(x[indices[$1] * inner + i])
          }
        }
      }
      let output = Buffer(count: y.count)
      let xs = Buffer(x)
      for range in [0..<2, 2..<5, 5..<7] {
        cnl_weighted_rows(
          output.pointer, xs.pointer, inner, starts, indices, weights, 7, range.lowerBound,
          range.upperBound)
      }
      check(output, y, "weighted rows of \(inner)")
    }
  }
}
