import CConvNetLoops
import Testing

extension LoopTests {
  @Suite struct WinogradGradientTests {
    typealias Case = WinogradTests.Case

    /// Whole numbers stay whole through every transform but the last, which restores them.
    @Test(arguments: Variant.all, [(4, 4), (4, 2), (2, 4), (2, 2)])
    func composedTransformsGiveTheFilterGradient(variant: Variant, tile: (Int, Int)) {
      variant.select()
      defer { Variant.deselect() }
      var noise = Noise(8)
      for c in WinogradTests.cases(tile) {
        let images = 3
        let x = noise.integers(images * c.height * c.width * c.channels, limit: 3)
        let dy = noise.integers(images * c.outputHeight * c.outputWidth * c.filters, limit: 3)
        let before = noise.integers(9 * c.channels * c.filters)
        let tiles = images * c.tiles
        var geometry = c.geometry
        let (row, split) = (c.channels + 2, tiles / 2)
        let (vStride, mStride) = (tiles * row + 5, tiles * c.filters + 3)
        let zeros = Buffer([Float](repeating: 0, count: max(c.channels, c.filters)))
        let v = Buffer([Float](repeating: 0, count: c.planes * vStride))
        let m = Buffer([Float](repeating: 0, count: c.planes * mStride))
        let (xs, dys) = (Buffer(x), Buffer(dy))
        for (first, count) in [(0, split), (split, tiles - split)] {
          cnl_winograd_gradient_input(
            v.pointer + first * row, vStride, row, xs.pointer, zeros.pointer, &geometry,
            c.channels, first, count)
          cnl_winograd_gradient(
            m.pointer + first * c.filters, mStride, c.filters, dys.pointer, zeros.pointer,
            &geometry, c.filters, first, count)
        }
        #expect(v.isIntact && m.isIntact)
        let u = Buffer(count: c.planes * c.channels * c.filters)
        for plane in 0..<c.planes {
          for i in 0..<(c.channels * c.filters) {
            let (channel, k) = (i / c.filters, i % c.filters)
            u.pointer[plane * c.channels * c.filters + i] = (0..<tiles).reduce(0) {
              $0 + v.pointer[plane * vStride + $1 * row + channel]
                * m.pointer[plane * mStride + $1 * c.filters + k]
            }
          }
        }
        let (dw, sum) = (Buffer(count: before.count), Buffer(before))
        for (target, accumulates) in [(dw, 0), (sum, 1)] as [(Buffer<Float>, Int32)] {
          cnl_winograd_filter_gradient(
            target.pointer, c.filters, c.channels * c.filters, u.pointer,
            c.channels * c.filters, c.channels, c.filters, c.tileHeight, c.tileWidth, accumulates)
        }
        let want = c.directFilterGradient(x, dy, images: images)
        check(dw, want, c.label)
        check(sum, zip(want, before).map { $0 + Double($1) }, "\(c.label) added")
      }
    }

    /// The adjoint filter's transform is that of the filter turned round and transposed, whatever
    /// part of it is taken.
    @Test(arguments: Variant.all, [(4, 4), (4, 2), (2, 4), (2, 2)])
    func theAdjointFilterIsTurnedAndTransposed(variant: Variant, tile: (Int, Int)) {
      variant.select()
      defer { Variant.deselect() }
      var noise = Noise(9)
      let planes = (tile.0 + 2) * (tile.1 + 2)
      for (channels, filters) in [(1, 1), (5, 18), (16, 32), (35, 7), (66, 20)] {
        let g = noise.floats(9 * channels * filters)
        var adjoint = g
        for tap in 0..<9 {
          for i in 0..<(channels * filters) {
            let (c, k) = (i / filters, i % filters)
            adjoint[((8 - tap) * filters + k) * channels + c] = g[tap * channels * filters + i]
          }
        }
        let (size, split) = (channels * filters, filters / 2)
        let want = Buffer(count: planes * size)
        cnl_winograd_filter(
          want.pointer, size, Buffer(adjoint).pointer, channels, size, filters, channels, tile.0,
          tile.1)
        let (u, from) = (Buffer(count: planes * size), Buffer(g))
        for (first, count) in [(0, split), (split, filters - split)] {
          cnl_winograd_filter_adjoint(
            u.pointer + first * channels, size, from.pointer + first, filters, size, count,
            channels, tile.0, tile.1)
        }
        #expect(u.isIntact)
        #expect(u.values == want.values, "F\(tile), \(channels) channels, \(filters) filters")
      }
    }
  }
}

extension LoopTests.WinogradTests.Case {
  /// The filter's gradient by its definition.
  func directFilterGradient(_ x: [Float], _ dy: [Float], images: Int) -> [Double] {
    var dw = [Double](repeating: 0, count: 9 * channels * filters)
    let outputs = outputHeight * outputWidth
    for o in 0..<(images * outputs) {
      for tap in 0..<9 {
        let iy = o % outputs / outputWidth - top + tap / 3
        let ix = o % outputWidth - left + tap % 3
        guard (0..<height).contains(iy), (0..<width).contains(ix) else { continue }
        for c in 0..<channels {
          let value = Double(x[((o / outputs * height + iy) * width + ix) * channels + c])
          for k in 0..<filters {
            dw[(tap * channels + c) * filters + k] += value * Double(dy[o * filters + k])
          }
        }
      }
    }
    return dw
  }
}
