import CConvNetLoops
import Testing

extension LoopTests {
  @Suite struct BatchNormTests {
    @Test(arguments: Variant.all, LoopTests.channels)
    func blockSums(variant: Variant, channels: Int) {
      variant.select()
      defer { Variant.deselect() }
      var noise = Noise(8)
      for rows in [0, 1, 4, 7, 33, 100] {
        let x = noise.integers(rows * channels)
        let dy = noise.integers(rows * channels)
        let shift = noise.integers(channels)
        var want = (0..<4).map { _ in [Double](repeating: 0, count: channels) }
        for r in 0..<rows {
          for c in 0..<channels {
            let d = Double(x[r * channels + c] - shift[c])
            let g = Double(dy[r * channels + c])
            want[0][c] += d
            want[1][c] += d * d
            want[2][c] += g
            want[3][c] += g * d
          }
        }
        let s = Buffer(count: channels)
        let q = Buffer(count: channels)
        let xs = Buffer(x)
        let m = Buffer(shift)
        cnl_moments_block(
          s.pointer, q.pointer, xs.pointer, channels, m.pointer, rows, channels)
        check(s, want[0], "moments, sum, \(rows)×\(channels)")
        check(q, want[1], "moments, squares, \(rows)×\(channels)")
        cnl_gradient_sums_block(
          s.pointer, q.pointer, Buffer(dy).pointer, xs.pointer, channels, m.pointer, rows, channels)
        check(s, want[2], "gradient, sum, \(rows)×\(channels)")
        check(q, want[3], "gradient, products, \(rows)×\(channels)")
      }
    }

    /// Terms of a part of the channels of wider rows.
    @Test(arguments: Variant.all, LoopTests.channels)
    func terms(variant: Variant, channels: Int) {
      variant.select()
      defer { Variant.deselect() }
      var noise = Noise(12)
      let (rows, row) = (5, channels + 3)
      let (x, dy) = (noise.integers(rows * row), noise.integers(rows * row))
      let shift = noise.integers(channels)
      var want = (0..<2).map { _ in [Double](repeating: 0, count: 2 * rows * channels) }
      for r in 0..<rows {
        for c in 0..<channels {
          let (d, g) = (Double(x[r * row + c] - shift[c]), Double(dy[r * row + c]))
          let i = 2 * r * channels + c
          (want[0][i], want[0][i + channels]) = (d, d * d)
          (want[1][i], want[1][i + channels]) = (g, g * d)
        }
      }
      let (xs, dys, m) = (Buffer(x), Buffer(dy), Buffer(shift))
      let t = Buffer(count: 2 * rows * channels)
      cnl_moments_terms(t.pointer, xs.pointer, row, m.pointer, rows, channels)
      check(t, want[0], "moments of \(channels)")
      cnl_gradient_terms(t.pointer, dys.pointer, xs.pointer, row, m.pointer, rows, channels)
      check(t, want[1], "gradient of \(channels)")
    }

    @Test(arguments: Variant.all)
    func mergingMatchesTwoPasses(variant: Variant) {
      variant.select()
      defer { Variant.deselect() }
      var noise = Noise(9)
      let channels = 5
      let blocks = [3, 8, 1, 20]
      // A mean 1000 times the deviation: E[x²] − E[x]² would lose six digits here.
      let x = noise.integers(32 * channels).map { $0 + 4096 }
      let shift = Array(x[..<channels])
      var mean = [Double](repeating: 0, count: channels)
      var m2 = mean
      var halves: [(mean: [Double], m2: [Double], count: Double)] = []
      var count = 0.0
      var start = 0
      for block in blocks {
        var s = [Float](repeating: 0, count: channels)
        var q = s
        let part = Array(x[start * channels..<(start + block) * channels])
        cnl_moments_block(&s, &q, part, channels, shift, block, channels)
        cnl_moments_merge(&mean, &m2, count, s, q, shift, Double(block), channels)
        var own = [Double](repeating: 0, count: channels)
        var own2 = own
        cnl_moments_merge(&own, &own2, 0, s, q, shift, Double(block), channels)
        halves.append((own, own2, Double(block)))
        count += Double(block)
        start += block
      }
      var combined = (
        [Double](repeating: 0, count: channels), [Double](repeating: 0, count: channels)
      )
      var combinedCount = 0.0
      for half in halves {
        cnl_moments_combine(
          &combined.0, &combined.1, combinedCount, half.mean, half.m2, half.count, channels)
        combinedCount += half.count
      }
      for c in 0..<channels {
        let column = (0..<32).map { Double(x[$0 * channels + c]) }
        let mu = column.reduce(0, +) / 32
        let squares = column.reduce(0) { $0 + ($1 - mu) * ($1 - mu) }
        #expect(abs(mean[c] - mu) <= 8 * mu.ulp && abs(combined.0[c] - mu) <= 8 * mu.ulp)
        #expect(abs(m2[c] - squares) <= 1e-12 * squares)
        #expect(abs(combined.1[c] - squares) <= 1e-12 * squares)
      }
    }

    /// One sample, and a channel that never changes: the variance is exactly 0.
    @Test(arguments: Variant.all)
    func constantChannels(variant: Variant) {
      variant.select()
      defer { Variant.deselect() }
      var mean = [0.0]
      var m2 = [0.0]
      var s: [Float] = [0]
      var q: [Float] = [0]
      cnl_moments_block(&s, &q, [Float](repeating: 0.1, count: 77), 1, [0.1], 77, 1)
      cnl_moments_merge(&mean, &m2, 0, s, q, [0.1], 77, 1)
      #expect(mean == [Double(Float(0.1))] && m2 == [0])
      cnl_moments_merge(&mean, &m2, 77, s, q, [0.1], 0, 1)
      #expect(mean == [Double(Float(0.1))] && m2 == [0])
    }

    @Test(arguments: Variant.all, LoopTests.channels)
    func applying(variant: Variant, channels: Int) {
      variant.select()
      defer { Variant.deselect() }
      var noise = Noise(10)
      for (rows, aligned) in [
        (0, false), (1, false), (2, true), (7, false), (18, true), (35, false),
      ] {
        let n = rows * channels
        let (x, r) = (noise.integers(n), noise.integers(n))
        let a = noise.integers(channels)
        let b = noise.integers(channels)
        let k = noise.integers(channels)
        let m = noise.integers(channels)
        var want = (0..<4).map { _ in [Double](repeating: 0, count: n) }
        for i in 0..<n {
          let c = i % channels
          want[0][i] = Double(a[c] * (x[i] - m[c]) + b[c])
          want[1][i] = min(max(want[0][i], 0), 6)
          want[2][i] = min(max(want[0][i] + Double(r[i]), 0), 6)
          want[3][i] = Double(r[i] * a[c] + (x[i] - m[c]) * b[c] + k[c])
        }
        let (xs, rs) = (Buffer(x, aligned: aligned), Buffer(r, aligned: aligned))
        let (centre, scale, offset, k2) = (Buffer(m), Buffer(a), Buffer(b), Buffer(k))
        let infinity = Float.infinity
        for stream in [Int32(0), 1] {
          let label = "\(rows)×\(channels), nontemporal \(stream)"
          let y = Buffer(count: n, aligned: aligned)
          cnl_normalize(
            y.pointer, xs.pointer, centre.pointer, scale.pointer, offset.pointer, -infinity,
            infinity, rows, channels, stream)
          check(y, want[0], "normalise \(label)")
          cnl_normalize(
            y.pointer, xs.pointer, centre.pointer, scale.pointer, offset.pointer, 0, 6, rows,
            channels, stream)
          check(y, want[1], "normalise, clamp \(label)")
          cnl_normalize_add(
            y.pointer, xs.pointer, rs.pointer, centre.pointer, scale.pointer, offset.pointer, 0, 6,
            rows, channels, stream)
          check(y, want[2], "normalise, add \(label)")
          cnl_normalize_gradient(
            y.pointer, rs.pointer, xs.pointer, centre.pointer, scale.pointer, offset.pointer,
            k2.pointer, rows, channels, stream)
          check(y, want[3], "normalise gradient \(label)")
        }
        cnl_normalize(
          xs.pointer, xs.pointer, centre.pointer, scale.pointer, offset.pointer, 0, 6, rows,
          channels, 0)
        check(xs, want[1], "in place \(rows)×\(channels)")
      }
    }

    @Test(arguments: Variant.all)
    func clampingKeepsNaN(variant: Variant) {
      variant.select()
      defer { Variant.deselect() }
      for channels in [3, 16, 20, 70] {
        let x = Buffer([Float](repeating: .nan, count: 5 * channels))
        let one = Buffer([Float](repeating: 1, count: channels))
        cnl_normalize(
          x.pointer, x.pointer, one.pointer, one.pointer, one.pointer, 0, 6, 5, channels, 0)
        #expect(x.isIntact && x.values.allSatisfy { $0.isNaN })
      }
    }

    @Test(arguments: Variant.all, LoopTests.sizes)
    func planes(variant: Variant, n: Int) {
      variant.select()
      defer { Variant.deselect() }
      var noise = Noise(11)
      let (x, dy) = (noise.integers(n), noise.integers(n))
      let (xs, dys) = (Buffer(x), Buffer(dy))
      var (s, q) = (Float(9), Float(9))
      cnl_plane_moments(&s, &q, xs.pointer, 2, n)
      #expect(s == x.reduce(0) { $0 + ($1 - 2) })
      #expect(q == x.reduce(0) { $0 + ($1 - 2) * ($1 - 2) })
      cnl_plane_gradient_sums(&s, &q, dys.pointer, xs.pointer, -1, n)
      #expect(s == dy.reduce(0, +))
      #expect(q == zip(x, dy).reduce(0) { $0 + ($1.0 + 1) * $1.1 })
      let y = Buffer(count: n)
      cnl_plane_normalize(y.pointer, xs.pointer, 5, 3, -2, -5, 6, n)
      check(y, x.map { Double(min(max(3 * ($0 - 5) - 2, -5), 6)) }, "plane of \(n)")
      cnl_plane_normalize_gradient(y.pointer, dys.pointer, xs.pointer, 5, 3, -2, 1, n)
      check(y, zip(x, dy).map { Double($1 * 3 - 2 * ($0 - 5) + 1) }, "plane gradient of \(n)")
    }
  }
}
