import ConvNetGraph
import Testing

@Suite struct RemoveIdentitiesTests {
  private func names(_ graph: Graph) -> [String] { graph.nodes.map(\.operation.name) }

  static let identities: [@Sendable (Graph.Value) -> Graph.Value] = [
    { $0.map(.affine(scale: 1, offset: 0)) },
    { $0.map(.clip(low: -.infinity, high: .infinity)) },
    { $0.reshaped([4, 6, 3]) },
    { $0.transposed([0, 1, 2, 3]) },
    { $0.concatenated() },
    { $0.sliced(axis: 1, 0..<4) },
    { $0.maxPooling(kernel: 1) },
    { $0.averagePooling(kernel: 1) },
    { $0.apply(.cast(.float32)) },
    { $0.apply(.reshapeLike, $0) },
  ]

  @Test(arguments: identities.indices) func identitiesGo(_ index: Int) throws {
    let graph = try Graph(input: .image(height: 4, width: 6, channels: 3)) {
      Self.identities[index](Self.identities[index]($0.relu())).sigmoid()
    }
    #expect(graph.nodes.count == 4)
    let small = try RemoveIdentities().apply(to: graph)
    #expect(names(small) == ["relu", "sigmoid"])
    try small.verify()
  }

  @Test func whatChangesSomethingStays() throws {
    let layers: [(Graph.Value) -> Graph.Value] = [
      { $0.map(.affine(scale: 1, offset: 1e-30)) },
      { $0.map(.clip(low: 0, high: .infinity)) },
      { $0.transposed([0, 2, 1, 3]) },
      { $0.reshaped([3, 4, 4]) },
      { $0.concatenated(with: $0) },
      { $0.sliced(axis: 1, 1..<4) },
      { $0.apply(.slice(Slice(axis: 1, start: 3, end: -1, step: -1))) },
      { $0.maxPooling(kernel: 3, stride: 1, padding: .same) },
      { $0.maxPooling(kernel: 1, stride: 2) },
    ]
    for layer in layers {
      let graph = try Graph(input: .image(height: 4, width: 4, channels: 3)) { layer($0.relu()) }
      #expect(try RemoveIdentities().apply(to: graph) == graph)
    }
  }

  @Test func outputsFollow() throws {
    let graph = try Graph(input: .features(3)) { $0.relu().concatenated() }
    let small = try RemoveIdentities().apply(to: graph)
    #expect(names(small) == ["relu"])
    #expect(small.outputs[0].value == small.nodes[0].outputs[0])
    try small.verify()
  }

  /// An output is never made the same value as an input or another output.
  @Test func outputsStayApart() throws {
    let graph = try Graph(inputs: [("x", .features(3))]) { values in
      let y = values[0].relu()
      return ["a": values[0].concatenated(), "b": y, "c": y.concatenated()]
    }
    #expect(try RemoveIdentities().apply(to: graph) == graph)
    let twice = try Graph(inputs: [("x", .features(3))]) { values in
      let y = values[0].relu()
      return ["b": y.concatenated(), "c": y.concatenated()]
    }
    let small = try RemoveIdentities().apply(to: twice)
    #expect(small.nodes.count == 2)
    #expect(Set(small.outputs.map(\.value)).count == 2)
    try small.verify()
  }
}
