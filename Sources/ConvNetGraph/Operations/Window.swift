/// How much is added around an image before a window slides over it.
public enum Padding: Hashable, Sendable, Codable {
  /// Nothing: the window stays inside.
  case valid
  /// As much as makes the output ⌈input / stride⌉ long; an odd rest goes to the end (ONNX `SAME_UPPER`).
  case same
  /// As `same`, with an odd rest at the beginning (ONNX `SAME_LOWER`).
  case sameLower
  /// So many positions at the beginning and at the end of each spatial dimension.
  case explicit(before: [Int], after: [Int])

  /// The same number of positions at every edge of an image.
  public static func explicit(_ count: Int) -> Padding {
    .explicit(before: [count, count], after: [count, count])
  }

  /// Positions at the edges of an image, in pixels.
  public static func explicit(top: Int, bottom: Int, left: Int, right: Int) -> Padding {
    .explicit(before: [top, left], after: [bottom, right])
  }
}

/// The geometry of everything that slides over space: convolution and pooling, of any rank.
///
/// One place owns this arithmetic. Per spatial dimension, with input extent i, kernel k, stride s,
/// dilation d and paddings p, q, the output extent is ⌊(i + p + q − (d(k − 1) + 1)) / s⌋ + 1
/// (Dumoulin & Visin 2016, relationship 15). Pooling may round up instead, so that a last window reaches
/// beyond the padding; one that would begin in the padding at the end is left out (as PyTorch and ONNX
/// have it).
public struct Window: Hashable, Sendable, Codable {
  /// The kernel's extents.
  public var kernel: [Int]
  /// Positions between neighbouring outputs.
  public var stride: [Int]
  /// Positions between neighbouring taps of the kernel; 1 is dense.
  public var dilation: [Int]
  /// What is added around the input.
  public var padding: Padding
  /// Whether the output extent is rounded up, for pooling only.
  public var roundsUp: Bool

  /// One spatial dimension with every number known.
  package struct Axis: Hashable, Sendable {
    package var input: Int
    package var output: Int
    package var kernel: Int
    package var stride: Int
    package var dilation: Int
    package var before: Int
    package var after: Int

    package init(
      input: Int, output: Int, kernel: Int, stride: Int = 1, dilation: Int = 1, before: Int = 0,
      after: Int = 0
    ) {
      self.input = input
      self.output = output
      self.kernel = kernel
      self.stride = stride
      self.dilation = dilation
      self.before = before
      self.after = after
    }

    /// The taps of an output position that meet the input, or with it the padding.
    package func taps(at output: Int, countingPadding: Bool) -> Int {
      taps(at: output, inside: countingPadding ? -before..<input + after : 0..<input).count
    }

    /// The taps of an output position that fall into some positions of the input.
    package func taps(at output: Int, inside positions: Range<Int>) -> Range<Int> {
      let origin = output * stride - before
      func taps(before end: Int) -> Int {
        min(max((end - origin + dilation - 1) / dilation, 0), kernel)
      }
      return taps(before: positions.lowerBound)..<taps(before: positions.upperBound)
    }
  }

  /// Makes a geometry.
  public init(
    kernel: [Int], stride: [Int]? = nil, dilation: [Int]? = nil, padding: Padding,
    roundsUp: Bool = false
  ) {
    self.kernel = kernel
    self.stride = stride ?? kernel.map { _ in 1 }
    self.dilation = dilation ?? kernel.map { _ in 1 }
    self.padding = padding
    self.roundsUp = roundsUp
  }

  /// Reads a geometry; files of before there was rounding up do not.
  ///
  /// - Throws: `DecodingError` where a part is missing or of another kind.
  public init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    kernel = try values.decode([Int].self, forKey: .kernel)
    stride = try values.decode([Int].self, forKey: .stride)
    dilation = try values.decode([Int].self, forKey: .dilation)
    padding = try values.decode(Padding.self, forKey: .padding)
    roundsUp = try values.decodeIfPresent(Bool.self, forKey: .roundsUp) ?? false
  }

  /// The number of spatial dimensions.
  package var rank: Int { kernel.count }

  /// Refuses numbers that no geometry can have.
  package func check() throws {
    guard stride.count == rank, dilation.count == rank, rank >= 1 else {
      throw GraphError(
        .invalidAttribute,
        "kernel \(kernel), stride \(stride) and dilation \(dilation) differ in rank")
    }
    let limit = 1 << 24
    for value in kernel + stride + dilation where !(1...limit).contains(value) {
      throw GraphError(
        .invalidAttribute,
        "kernel \(kernel), stride \(stride) and dilation \(dilation) must be between 1 and \(limit)"
      )
    }
    if case .explicit(let before, let after) = padding {
      guard before.count == rank, after.count == rank,
        (before + after).allSatisfy({ (0...limit).contains($0) })
      else {
        throw GraphError(
          .invalidAttribute, "padding \(before) and \(after) does not fit a kernel \(kernel)")
      }
    }
  }

  /// Resolves one spatial dimension for an input extent.
  package func axis(_ index: Int, input: Int) throws -> Axis {
    let k = kernel[index]
    let s = stride[index]
    let d = dilation[index]
    let span = d * (k - 1) + 1
    let before: Int
    let after: Int
    switch padding {
    case .valid: (before, after) = (0, 0)
    case .same, .sameLower:
      let total = max(((input + s - 1) / s - 1) * s + span - input, 0)
      before = padding == .same ? total / 2 : total - total / 2
      after = total - before
    case .explicit(let starts, let ends): (before, after) = (starts[index], ends[index])
    }
    let room = input + before + after - span + (roundsUp ? s - 1 : 0)
    guard input >= 1, room >= 0 else {
      throw GraphError(
        .invalidShape,
        "a window of \(span) does not fit an input of \(input) with padding \(before) and \(after)")
    }
    var output = room / s + 1
    if roundsUp, (output - 1) * s >= input + before { output -= 1 }
    return Axis(
      input: input, output: output, kernel: k, stride: s, dilation: d, before: before, after: after)
  }

  /// The output extents for input extents, which may be symbols.
  func outputs(_ inputs: some Collection<Dimension>) throws -> [Dimension] {
    guard inputs.count == rank else {
      throw GraphError(
        .invalidShape, "a kernel \(kernel) does not fit \(inputs.count) spatial dimensions")
    }
    return try inputs.enumerated().map { index, input in
      if case .symbol(let name) = input { return symbol(index, name) }
      return try input.map({ $0 }) { try axis(index, input: $0).output }
    }
  }

  /// The output extent for an open one: ⌊(i + offset)/s⌋ + 1 with offset = p + q − (d(k − 1) + 1), so that
  /// windows that lead to the same extent have the same name for it.
  private func symbol(_ index: Int, _ input: String) -> Dimension {
    let span = dilation[index] * (kernel[index] - 1) + 1
    let (s, offset): (Int, Int)
    switch padding {
    case .valid: (s, offset) = (stride[index], -span)
    // ⌈i/s⌉ = ⌊(i − 1)/s⌋ + 1.
    case .same, .sameLower: (s, offset) = (stride[index], -1)
    case .explicit(let before, let after):
      (s, offset) = (stride[index], before[index] + after[index] - span)
    }
    if s == 1, offset >= -1 { return .sum([.symbol(input), .fixed(offset + 1)]) }
    // Rounding up may leave the last window out, which begins in the padding at the end.
    let rounding = roundsUp && s > 1 ? ",up,\(padding)" : ""
    return .symbol("window(\(input),\(offset),\(s)\(rounding))")
  }
}
