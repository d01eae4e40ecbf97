import ConvNetGraph
import Testing

/// The layer's types, state and mistakes.
@Suite struct DecorrelationTests {
  private func graph(
    group: Int, epsilon: Double = 1e-5, tracks: Bool = true,
    input: TensorType = .image(height: 5, width: 4, channels: 6)
  ) throws -> Graph {
    try Graph(input: input) {
      $0.decorrelatedBatchNormalization(
        groupSize: group, epsilon: epsilon, tracksRunningStatistics: tracks, name: "white")
    }
  }

  @Test func hasParametersAndState() throws {
    let graph = try graph(group: 3)
    #expect(graph.parameters.map(\.name) == ["white.weight", "white.bias"])
    #expect(
      graph.states.map(\.name) == [
        "white.running_mean", "white.running_cov", "white.num_batches_tracked",
      ])
    let state = Model.initialState(of: graph)
    let identity: [Float] = [1, 0, 0, 0, 1, 0, 0, 0, 1]
    #expect(state["white.running_cov"] == Tensor(identity + identity, shape: [6, 3]))
    #expect(state["white.running_mean"] == Tensor(zeros: [6]))
    #expect(try self.graph(group: 3, tracks: false).states.isEmpty)
  }

  @Test func takesRunningStatisticsInInference() throws {
    func sources(_ graph: Graph) -> [StatisticsSource] {
      graph.nodes.compactMap {
        if case .decorrelate(let a) = $0.operation { a.source } else { nil }
      }
    }
    let graph = try graph(group: 2)
    let inference = try ResolveMode(.inference).apply(to: graph)
    #expect(sources(inference) == [.running])
    #expect(!inference.nodes.contains { $0.operation.name == "covariance" })
    try inference.verify()
    #expect(sources(try ResolveMode(.training).apply(to: graph)) == [.batch])
    // Frozen, it normalises with running statistics in training, too.
    let frozen = try graph.settingBatchNormalization(["white"], source: .running, updates: false)
    #expect(sources(try ResolveMode(.training).apply(to: frozen)) == [.running])
    let without = try self.graph(group: 2, tracks: false)
    #expect(sources(try ResolveMode(.inference).apply(to: without)) == [.batch])
  }

  @Test(arguments: [0, -1, 4, 5, 7, 12, .max]) func refusesGroups(_ size: Int) {
    #expect(throws: GraphError.self) { try graph(group: size) }
  }

  @Test(arguments: [0, -1, .nan, .infinity]) func refusesEpsilons(_ epsilon: Double) {
    #expect(throws: GraphError.self) { try graph(group: 2, epsilon: epsilon) }
  }

  @Test func refusesStateOfAnotherShape() throws {
    var graph = try graph(group: 3)
    let state = try #require(graph.states.first { $0.role == .runningCovariance })
    graph.types[state.value.index] = TensorType([6])
    #expect(throws: GraphError.self) { try graph.verify() }
  }

  /// Moments of both halves, merged, are those of the whole: (0, 0), (2, 4), (4, 2), (2, 2) about (2, 2)
  /// have Σx² = 8, Σy² = 8, Σxy = 4.
  @Test func coMomentsMerge() {
    let first = Moments(count: 2, mean: [1, 2], m2: [2, 4, 4, 8])
    let second = Moments(count: 2, mean: [3, 2], m2: [2, 0, 0, 0])
    let whole = first.merged(with: second)
    #expect(whole == Moments(count: 4, mean: [2, 2], m2: [8, 4, 4, 8]))
    #expect(whole.isFinite && !Moments(count: 2, mean: [0, 0], m2: [1, 0, 0, -1]).isFinite)
    #expect(Moments(count: 2, mean: [0, 0], m2: [1, -1, -1, 1]).isFinite)
  }
}
