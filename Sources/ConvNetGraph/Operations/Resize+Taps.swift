/// A linear map along one axis as lists of weighted elements: y[o] = Σ weights[t]·x[indices[t]] over the
/// taps t from starts[o] up to starts[o + 1].
package struct ResizeTaps: Sendable {
  /// Where each position's taps begin, and where the last one's end.
  package private(set) var starts = [0]
  package private(set) var indices: [Int] = []
  package private(set) var weights: [Double] = []
  /// The value of positions without taps.
  package private(set) var empty: Double

  init(empty: Double) { self.empty = empty }

  package var outputs: Int { starts.count - 1 }

  /// Adds a position: taps in ascending order, those of one element as one, those of no weight left out.
  fileprivate mutating func append(_ taps: some Sequence<(index: Int, weight: Double)>) {
    for (index, weight) in taps where weight != 0 {
      if let last = indices.last, last == index, indices.count > starts[starts.count - 1] {
        weights[weights.count - 1] += weight
      } else {
        indices.append(index)
        weights.append(weight)
      }
    }
    starts.append(indices.count)
  }

  /// The adjoint: which of our positions an element of x of `count` elements takes part in.
  package func transposed(count: Int) -> ResizeTaps {
    var positions = [[(index: Int, weight: Double)]](repeating: [], count: count)
    for output in 0..<outputs {
      for tap in starts[output]..<starts[output + 1] {
        positions[indices[tap]].append((output, weights[tap]))
      }
    }
    var result = ResizeTaps(empty: 0)
    for taps in positions { result.append(taps) }
    return result
  }
}

extension Resize {
  /// The elements of an axis of `input` elements that each of `output` positions is made of.
  ///
  /// As the operator specification of ONNX `Resize` has it: with a scale given, that scale is in the
  /// formulas, not the quotient of the extents, and a length is input·scale, not cut to a whole number.
  package func taps(input: Int, output: Int) -> ResizeTaps {
    var taps = ResizeTaps(empty: 0)
    if case .crop(_, _, let outside) = coordinates { taps = ResizeTaps(empty: outside) }
    let line = Line(self, input: input, output: output)
    for o in 0..<output {
      guard let x = line.point(Double(o)) else {
        taps.append([])
        continue
      }
      // The element before x, at a distance in (0, 1]: the one on the left is preferred.
      let base = x.rounded(.up) - 1
      var (first, weights) = weights(ratio: x - base, scale: line.scale)
      first += Int(base)
      if excludesOutside {
        for i in weights.indices where !(0..<input).contains(first + i) { weights[i] = 0 }
        let sum = weights.reduce(0, +)
        if sum != 0 { weights = weights.map { $0 / sum } }
      }
      taps.append(
        weights.enumerated().map { (min(max(first + $0.offset, 0), input - 1), $0.element) })
    }
    return taps
  }

  /// An axis with its numbers, as the coordinate modes take them.
  private struct Line {
    let coordinates: Coordinates
    let input: Double
    /// Whole positions.
    let output: Double
    let scale: Double
    /// input·scale.
    let length: Double

    init(_ resize: Resize, input: Int, output: Int) {
      coordinates = resize.coordinates
      self.input = Double(input)
      self.output = Double(output)
      switch resize.extent {
      case .scale(let scale):
        self.scale = scale
        length = scale * Double(input)
      case .size:
        scale = Double(output) / Double(input)
        length = Double(output)
      }
    }

    /// Where an output position lies on the input axis; nil outside of what is cropped from.
    func point(_ o: Double) -> Double? {
      switch coordinates {
      case .halfPixel: return (o + 0.5) / scale - 0.5
      case .pytorchHalfPixel: return length == 1 ? 0 : (o + 0.5) / scale - 0.5
      case .halfPixelSymmetric:
        return input / 2 * (1 - output / length) + (o + 0.5) / scale - 0.5
      case .tensorFlowHalfPixel: return (o + 0.5) / scale
      case .alignCorners: return length == 1 ? 0 : o * (input - 1) / (length - 1)
      case .asymmetric: return o / scale
      case .crop(let start, let end, _):
        let inside =
          length == 1
          ? (end - start) * (input - 1) / 2 : o * (end - start) * (input - 1) / (length - 1)
        let x = start * (input - 1) + inside
        return x < 0 || x > input - 1 ? nil : x
      }
    }
  }

  /// The weights of elements around a point, and where the first of them lies from the element before
  /// it, which is `ratio` away.
  private func weights(ratio r: Double, scale: Double) -> (first: Int, weights: [Double]) {
    let scale = min(scale, 1)
    switch interpolation {
    case .nearest(let rounding):
      let isSecond =
        switch rounding {
        case .preferFloor: r > 0.5
        case .preferCeiling: r >= 0.5
        case .floor: r == 1
        case .ceiling: true
        }
      return (isSecond ? 1 : 0, [1])
    case .linear:
      guard antialiases else { return (0, [1 - r, r]) }
      return spread(reach: 1, ratio: r, scale) { max(1 - abs($0), 0) }
    case .cubic(let a):
      // Keys 1981, equation 4, with a in place of −1/2.
      func kernel(_ x: Double) -> Double {
        let x = abs(x)
        if x <= 1 { return ((a + 2) * x - (a + 3)) * x * x + 1 }
        return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0
      }
      guard antialiases else { return (-1, (-1...2).map { kernel(Double($0) - r) }) }
      return spread(reach: 2, ratio: r, scale, kernel)
    }
  }

  /// A kernel stretched over the elements that an output position covers, its weights' sum 1.
  private func spread(
    reach: Double, ratio: Double, _ scale: Double, _ kernel: (Double) -> Double
  ) -> (first: Int, weights: [Double]) {
    let first = Int((-reach / scale).rounded(.down)) + 1
    let weights = (first..<(2 - first)).map { kernel((Double($0) - ratio) * scale) }
    let sum = weights.reduce(0, +)
    return (first, weights.map { $0 / sum })
  }
}
