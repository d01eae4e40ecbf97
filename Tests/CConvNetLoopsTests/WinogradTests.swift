import CConvNetLoops
import Testing

extension LoopTests {
  @Suite struct WinogradTests {
    /// An image, its padding and what is made of it.
    struct Case {
      var height, width, channels, filters: Int
      var top = 1
      var left = 1
      var outputHeight, outputWidth: Int
      var tileHeight, tileWidth: Int

      var across: Int { (outputWidth + tileWidth - 1) / tileWidth }
      var tiles: Int { across * ((outputHeight + tileHeight - 1) / tileHeight) }
      var planes: Int { (tileHeight + 2) * (tileWidth + 2) }
      var label: String {
        "F(\(tileHeight)×\(tileWidth)) \(height)×\(width)×\(channels) to "
          + "\(outputHeight)×\(outputWidth)×\(filters)"
      }

      var geometry: cnl_winograd {
        cnl_winograd(
          height: height, width: width, channels: channels, padTop: top, padLeft: left,
          outputHeight: outputHeight, outputWidth: outputWidth, filters: filters,
          tileHeight: tileHeight, tileWidth: tileWidth, tilesAcross: across)
      }

      /// The convolution by its definition.
      func direct(_ x: [Float], _ g: [Float]) -> [Double] {
        var y = [Double](repeating: 0, count: outputHeight * outputWidth * filters)
        for o in 0..<(outputHeight * outputWidth) {
          for tap in 0..<9 {
            let iy = o / outputWidth - top + tap / 3
            let ix = o % outputWidth - left + tap % 3
            guard (0..<height).contains(iy), (0..<width).contains(ix) else { continue }
            for c in 0..<channels {
              let value = Double(x[(iy * width + ix) * channels + c])
              for k in 0..<filters {
                y[o * filters + k] += value * Double(g[(tap * channels + c) * filters + k])
              }
            }
          }
        }
        return y
      }
    }

    static func cases(_ tile: (Int, Int)) -> [Case] {
      [(5, 7, 3, 17), (8, 4, 16, 5), (1, 9, 1, 1), (6, 6, 20, 33)].map {
        Case(
          height: $0.0, width: $0.1, channels: $0.2, filters: $0.3, outputHeight: $0.0,
          outputWidth: $0.1, tileHeight: tile.0, tileWidth: tile.1)
      } + [
        Case(
          height: 6, width: 5, channels: 2, filters: 3, top: 0, left: 3, outputHeight: 4,
          outputWidth: 9, tileHeight: tile.0, tileWidth: tile.1)
      ]
    }

    /// Filters of −576, 0 and 576 make every transform a whole number, so the result is exact: input
    /// transform, products by the definition, output transform in two parts.
    @Test(arguments: Variant.all, [(4, 4), (4, 2), (2, 4), (2, 2)])
    func composedTransformsConvolve(variant: Variant, tile: (Int, Int)) {
      variant.select()
      defer { Variant.deselect() }
      var noise = Noise(7)
      for c in Self.cases(tile) {
        let x = noise.integers(c.height * c.width * c.channels, limit: 1)
        let g = noise.integers(9 * c.channels * c.filters, limit: 1).map { $0 * 576 }
        let bias = noise.integers(c.filters)
        let residual = noise.integers(c.outputHeight * c.outputWidth * c.filters)
        var geometry = c.geometry
        let (vStride, mStride) = (c.tiles * c.channels + 5, c.tiles * c.filters + 3)
        let u = Buffer(count: c.planes * c.channels * c.filters)
        cnl_winograd_filter(
          u.pointer, c.channels * c.filters, Buffer(g).pointer, c.filters, c.channels * c.filters,
          c.channels, c.filters, c.tileHeight, c.tileWidth)
        #expect(u.isIntact)
        let v = Buffer(count: c.planes * vStride)
        cnl_winograd_input(
          v.pointer, vStride, Buffer(x).pointer,
          Buffer([Float](repeating: 0, count: c.channels)).pointer, &geometry, 0, c.tiles)
        #expect(v.isIntact)
        let m = Buffer([Float](repeating: 0, count: c.planes * mStride))
        for plane in 0..<c.planes {
          for t in 0..<c.tiles {
            for k in 0..<c.filters {
              m.pointer[plane * mStride + t * c.filters + k] = (0..<c.channels).reduce(0) {
                $0 + v.pointer[plane * vStride + t * c.channels + $1]
                  * u.pointer[(plane * c.channels + $1) * c.filters + k]
              }
            }
          }
        }
        let want = c.direct(x, g).enumerated().map { $1 + Double(bias[$0 % c.filters]) }
        let biases = Buffer(bias)
        let y = Buffer(count: residual.count)
        let sum = Buffer(residual)
        let split = c.tiles / 2
        for (first, count) in [(0, split), (split, c.tiles - split)] {
          let from = m.pointer + first * c.filters
          cnl_winograd_output(
            y.pointer, from, mStride, c.filters, biases.pointer, -3000, .infinity, &geometry,
            c.filters, first, count)
          cnl_winograd_output_add(
            sum.pointer, sum.pointer, from, mStride, c.filters, biases.pointer, -.infinity, 5000,
            &geometry, c.filters, first, count)
        }
        check(y, want.map { max($0, -3000) }, c.label)
        check(sum, zip(want, residual).map { min($0 + Double($1), 5000) }, "\(c.label) added")
      }
    }
  }
}
