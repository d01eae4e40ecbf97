import ConvNetGraph

extension ReferenceTensor {
  /// The values under a shape that this one's stretches to.
  func stretched(to shape: Shape) -> [Double] {
    self.shape.indices(stretchedTo: shape).map { values[$0] }
  }
}
