/// One axis of a tensor at another resolution; images take one for each spatial axis.
///
/// Every output position o is a point of the input axis, given by `coordinates`; its value is a sum of
/// weighted elements around that point, given by `interpolation` (ONNX `Resize`). Operand x;
/// `resizeGradient` is the adjoint, of dy and like x.
package struct Resize: Hashable, Sendable, Codable {
  /// How long the axis becomes.
  package enum Extent: Hashable, Sendable, Codable {
    /// ⌊input · scale⌋.
    case scale(Double)
    /// A number; the scale is size/input.
    case size(Int)
  }

  /// Which element is nearest to a point halfway between two.
  package enum Rounding: String, Hashable, Sendable, Codable {
    case preferFloor, preferCeiling, floor, ceiling
  }

  /// What is made of the elements around a point.
  package enum Interpolation: Hashable, Sendable, Codable {
    case nearest(Rounding)
    /// Two neighbours, weighted by their distance.
    case linear
    /// Four neighbours, with the coefficient a (Keys 1981).
    case cubic(Double)
  }

  /// Where an output position lies on the input axis.
  package enum Coordinates: Hashable, Sendable, Codable {
    /// (o + ½)/scale − ½.
    case halfPixel
    /// As `halfPixel`, but 0 where the output has one position.
    case pytorchHalfPixel
    /// As `halfPixel`, centred also where ⌊input · scale⌋ cuts something off.
    case halfPixelSymmetric
    /// (o + ½)/scale.
    case tensorFlowHalfPixel
    /// o·(input − 1)/(length − 1), with the length input·scale.
    case alignCorners
    /// o/scale.
    case asymmetric
    /// A part of the axis, from `start` to `end` in 0…1; outside the tensor stands `outside`.
    case crop(start: Double, end: Double, outside: Double)
  }

  /// The longest axis, which bounds the table of taps that a plan holds.
  static let limit = 1 << 20

  package var axis: Int
  package var extent: Extent
  package var interpolation: Interpolation
  package var coordinates: Coordinates
  /// Whether the taps are spread over all elements that a smaller output position covers.
  package var antialiases: Bool
  /// Whether taps outside the tensor are left out and the others made to sum up to 1; otherwise the
  /// element at the edge stands for them.
  package var excludesOutside: Bool

  package init(
    axis: Int, extent: Extent, interpolation: Interpolation, coordinates: Coordinates,
    antialiases: Bool = false, excludesOutside: Bool = false
  ) {
    self.axis = axis
    self.extent = extent
    self.interpolation = interpolation
    self.coordinates = coordinates
    self.antialiases = antialiases
    self.excludesOutside = excludesOutside
  }

  func outputType(_ inputs: [TensorType]) throws -> TensorType {
    try resizedType(Operation.take(inputs, count: 1)[0])
  }

  func gradientType(_ inputs: [TensorType]) throws -> TensorType {
    let operands = try Operation.float(inputs, count: 2)
    try Operation.expect(operands[0], toBe: resizedType(operands[1]), as: "the output's gradient")
    return operands[1]
  }

  /// The extent that an input extent is brought to.
  package func output(input: Int) throws -> Int {
    switch extent {
    case .size(let size):
      guard size >= 0, size <= Resize.limit else {
        throw GraphError(.invalidAttribute, "a resize to \(size)")
      }
      return size
    case .scale(let scale):
      // In float32, as ONNX and the frameworks that export it: 0.7 · 10 is 7.
      let output = (Float(input) * Float(scale)).rounded(.down)
      guard scale > 0, output <= Float(Resize.limit) else {
        throw GraphError(.invalidAttribute, "a resize of \(input) by \(scale)")
      }
      return Int(output)
    }
  }

  /// Refuses numbers that no element could be found by.
  private func checkNumbers() throws {
    var numbers: [Double] = []
    if case .crop(let start, let end, _) = coordinates { numbers = [start, end] }
    if case .cubic(let a) = interpolation { numbers.append(a) }
    guard numbers.allSatisfy({ abs($0) <= 0x1p24 }) else {
      throw GraphError(.invalidAttribute, "a resize cannot take the numbers \(numbers)")
    }
    if case .nearest = interpolation, antialiases {
      throw GraphError(.invalidAttribute, "the nearest element is not spread over others")
    }
  }

  private func resizedType(_ x: TensorType) throws -> TensorType {
    var result = x
    let axis = try x.normalizedAxis(axis)
    try checkNumbers()
    if case .scale(let scale) = extent, let factor = Int(exactly: scale), factor > 0,
      x.dimensions[axis].extent == nil
    {
      // Spelled as arithmetic on extents spells it.
      result.dimensions[axis] = .product([x.dimensions[axis], .fixed(factor)])
      return result
    }
    result.dimensions[axis] = try x.dimensions[axis].map({ "resize(\($0),\(extent))" }) {
      guard $0 > 0, $0 <= Resize.limit else {
        throw GraphError(.invalidShape, "cannot resize an axis of \(x) that is empty or too long")
      }
      return try output(input: $0)
    }
    return result
  }
}
