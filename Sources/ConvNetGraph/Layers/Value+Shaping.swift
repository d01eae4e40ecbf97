extension Graph.Value {
  /// `[N, …]` to `[N, product of the rest]`.
  public func flatten() -> Graph.Value { apply(.reshape(Reshape([.copy(0), .rest]))) }

  /// The same elements under another shape; one extent may be −1, whatever is left, and the first
  /// axis, the batch, stays.
  public func reshaped(_ extents: [Int]) -> Graph.Value {
    let rest = extents.map { $0 == -1 ? Reshape.Extent.rest : .fixed($0) }
    return apply(.reshape(Reshape([.copy(0)] + rest)))
  }

  /// Axes in another order: axis i of the result is axis `permutation[i]` of this value.
  public func transposed(_ permutation: [Int]) -> Graph.Value {
    apply(.transpose(Transpose(permutation)))
  }

  /// Joins values along an axis; the last one, the channels, by default.
  public func concatenated(with others: Graph.Value..., axis: Int = -1) -> Graph.Value {
    let operation = Operation.concatenate(Concatenate(axis: axis))
    return Graph.Value(
      builder: builder, id: builder.add(operation, [id] + others.map(\.id), name: nil)[0])
  }

  /// A part along an axis.
  public func sliced(axis: Int, _ range: Range<Int>) -> Graph.Value {
    apply(.slice(Slice(axis: axis, start: range.lowerBound, end: range.upperBound)))
  }
}
