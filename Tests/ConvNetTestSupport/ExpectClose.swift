package import ConvNetGraph
package import ConvNetReference
package import Testing

/// Expects every element within a tolerance of what it should be; NaN is close to NaN only, and an
/// infinity to itself.
package func expectClose(
  _ actual: [Double], _ expected: [Double], tolerance: Double, _ comment: String = "",
  sourceLocation: SourceLocation = #_sourceLocation
) {
  guard actual.count == expected.count else {
    Issue.record(
      "\(comment): \(actual.count) elements, not \(expected.count)", sourceLocation: sourceLocation)
    return
  }
  var worst: (index: Int, error: Double)?
  for index in actual.indices {
    let (a, e) = (actual[index], expected[index])
    let error = a == e || (a.isNaN && e.isNaN) ? 0 : abs(a - e)
    // Written so that an error of NaN counts as too large.
    guard !(error <= tolerance) else { continue }
    if let earlier = worst, !(error > earlier.error), !error.isNaN { continue }
    worst = (index, error)
  }
  guard let worst else { return }
  Issue.record(
    """
    \(comment): element \(worst.index) of \(actual.count) is \(actual[worst.index]), not \
    \(expected[worst.index]): off by \(worst.error), with a tolerance of \(tolerance)
    """, sourceLocation: sourceLocation)
}

/// Expects a tensor of the given shape with every element within a tolerance.
package func expectClose(
  _ actual: Tensor, _ expected: ReferenceTensor, tolerance: Double, _ comment: String = "",
  sourceLocation: SourceLocation = #_sourceLocation
) {
  guard actual.shape == expected.shape, actual.elementType == expected.elementType else {
    Issue.record(
      """
      \(comment): the result is \(actual.elementType.rawValue) \(actual.shape), not \
      \(expected.elementType.rawValue) \(expected.shape)
      """, sourceLocation: sourceLocation)
    return
  }
  expectClose(
    actual.doubles, expected.values, tolerance: tolerance, comment, sourceLocation: sourceLocation)
}

/// Expects a tensor of the shape and type of another with every element within a tolerance.
package func expectClose(
  _ actual: Tensor, _ expected: Tensor, tolerance: Double, _ comment: String = "",
  sourceLocation: SourceLocation = #_sourceLocation
) {
  expectClose(
    actual, ReferenceTensor(expected), tolerance: tolerance, comment,
    sourceLocation: sourceLocation)
}
