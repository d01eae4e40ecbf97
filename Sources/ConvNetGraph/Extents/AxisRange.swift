/// Positions along one axis at an even distance: what a slice of NumPy's and ONNX's rules takes.
struct AxisRange: Hashable {
  var axis: Int
  var start: Int
  var count: Int
  var step: Int

  /// The range of an axis of known extent; starts and ends past the axis are cut to it.
  init?(axis: Int, extent: Int, start: Int, end: Int, step: Int) {
    guard step != 0, step != .min else { return nil }
    func position(_ index: Int, in bounds: ClosedRange<Int>) -> Int {
      let positive = index < 0 ? index.addingReportingOverflow(extent).partialValue : index
      return Swift.min(Swift.max(positive, bounds.lowerBound), bounds.upperBound)
    }
    // Backwards, the exclusive end may lie before the first element.
    let bounds = step > 0 ? 0...extent : -1...max(extent - 1, -1)
    let (first, last) = (position(start, in: bounds), position(end, in: bounds))
    let distance = step > 0 ? last - first : first - last
    self.axis = axis
    self.start = first
    self.count = distance <= 0 ? 0 : (distance - 1) / abs(step) + 1
    self.step = count <= 1 ? 1 : step
  }

  var positions: [Int] { (0..<count).map { start + $0 * step } }

  /// Whether it takes all of an axis in order.
  func isWhole(of extent: Int) -> Bool { start == 0 && count == extent && step == 1 }

  /// The operation that takes these positions.
  var operation: Operation {
    let last = start + (count - 1) * step
    return .slice(
      count == 0
        ? Slice(axis: axis, start: 0, end: 0)
        : Slice(axis: axis, start: start, end: last + (step > 0 ? 1 : -1), step: step))
  }
}
