import Glibc

/// Where each pixel of a changed image comes from: (y, x) = matrix·(h, w) + offset.
package struct AffineMap: Hashable, Sendable {
  /// What y and x grow by from one row to the next.
  package var perRow: SIMD2<Double>
  /// What y and x grow by from one column to the next.
  package var perColumn: SIMD2<Double>
  /// Where the pixel (0, 0) comes from.
  package var origin: SIMD2<Double>

  /// Makes a map of its three vectors (y, x).
  package init(perRow: SIMD2<Double>, perColumn: SIMD2<Double>, origin: SIMD2<Double>) {
    (self.perRow, self.perColumn, self.origin) = (perRow, perColumn, origin)
  }

  /// The map of an image that is mirrored and shifted as a change says, then grows by a factor, turns
  /// about its centre c counter-clockwise by θ, and moves by t.
  ///
  /// A point p goes to q = c + f·R(θ)·(p − c) + t, so that q comes from p = c + R(−θ)·(q − c − t)/f.
  package init(
    _ change: Augmentation.Change, degrees: Double, factor: Double, dy: Double, dx: Double,
    height: Int, width: Int
  ) {
    let angle = degrees * .pi / 180
    let (cosine, sine) = (cos(angle) / factor, sin(angle) / factor)
    // y points down: seen on the screen R(θ) takes (y, x) to (y cos θ − x sin θ, y sin θ + x cos θ).
    perRow = [cosine, -sine]
    perColumn = [sine, cosine]
    let center = SIMD2(Double(height - 1) / 2, Double(width - 1) / 2)
    let start = -center - SIMD2(dy, dx)
    origin = center + perRow * start.x + perColumn * start.y
    origin += SIMD2(Double(change.dy), Double(change.dx))
    if change.mirrors {
      perRow.y.negate()
      perColumn.y.negate()
      origin.y = Double(width - 1) - origin.y
    }
  }

  /// Fills an image of the same size with numbers between the four nearest pixels; outside is 0.
  ///
  /// - Parameters:
  ///   - image: `[height, width, channels]`.
  ///   - output: room for as much.
  ///   - number: what an element of the image is as a number.
  @inline(__always)
  package func resample<Element>(
    _ image: UnsafePointer<Element>, height: Int, width: Int, channels: Int,
    to output: UnsafeMutablePointer<Float>, _ number: (Element) -> Float
  ) {
    let (stepY, stepX) = (Float(perColumn.x), Float(perColumn.y))
    let (lastY, lastX) = (Float(height), Float(width))
    let rowSize = width * channels
    for h in 0..<height {
      let start = origin + perRow * Double(h)
      let (startY, startX) = (Float(start.x), Float(start.y))
      for w in 0..<width {
        let pixel = output + h * rowSize + w * channels
        let (y, x) = (startY + stepY * Float(w), startX + stepX * Float(w))
        guard y > -1, y < lastY, x > -1, x < lastX else {
          for c in 0..<channels { pixel[c] = 0 }
          continue
        }
        // Truncation of what is not negative is the floor.
        let (top, left) = (Int(y + 1) - 1, Int(x + 1) - 1)
        let (fy, fx) = (y - Float(top), x - Float(left))
        let corner = top * rowSize + left * channels
        if top >= 0, left >= 0, top + 1 < height, left + 1 < width {
          for c in 0..<channels {
            let from = image + corner + c
            let (a, b) = (number(from[0]), number(from[channels]))
            let (d, e) = (number(from[rowSize]), number(from[rowSize + channels]))
            let (upper, lower) = (a + (b - a) * fx, d + (e - d) * fx)
            pixel[c] = upper + (lower - upper) * fy
          }
          continue
        }
        for c in 0..<channels {
          func at(_ row: Int, _ column: Int) -> Float {
            guard row >= 0, row < height, column >= 0, column < width else { return 0 }
            return number(image[row * rowSize + column * channels + c])
          }
          let (a, b) = (at(top, left), at(top, left + 1))
          let (d, e) = (at(top + 1, left), at(top + 1, left + 1))
          let (upper, lower) = (a + (b - a) * fx, d + (e - d) * fx)
          pixel[c] = upper + (lower - upper) * fy
        }
      }
    }
  }
}
