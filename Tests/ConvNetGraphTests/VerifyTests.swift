import ConvNetGraph
import Foundation
import Testing

@Suite struct VerifyTests {
  private func graph() throws -> Graph {
    try Graph(input: .image(height: 8, width: 8, channels: 1)) { x in
      x.convolution(4, kernel: 3, name: "c").batchNormalization(name: "n").relu()
        .maxPooling(kernel: 2).dropout(0.1).flatten().dense(10, name: "d")
    }
  }

  /// Expects a changed graph to be refused, and its file too.
  private func expectRefusal(
    _ code: GraphError.Code, sourceLocation: SourceLocation = #_sourceLocation,
    _ change: (inout Graph) -> Void
  ) throws {
    var graph = try graph()
    change(&graph)
    let error = #expect(throws: GraphError.self, sourceLocation: sourceLocation) {
      try graph.verify()
    }
    #expect(error?.code == code, sourceLocation: sourceLocation)
    let data = try JSONEncoder().encode(graph)
    #expect(throws: (any Error).self, sourceLocation: sourceLocation) {
      try JSONDecoder().decode(Graph.self, from: data)
    }
  }

  @Test func acceptsWhatLayersDescribe() throws {
    try graph().verify()
  }

  @Test func refusesNodesOutOfOrder() throws {
    try expectRefusal(.malformedGraph) { $0.nodes.swapAt(0, 2) }
    // A cycle: the first node reads what the last one makes.
    try expectRefusal(.malformedGraph) { $0.nodes[0].inputs[0] = $0.nodes[6].outputs[0] }
  }

  @Test func refusesValuesThatDoNotExist() throws {
    for index in [-1, 1000, .max, .min] {
      try expectRefusal(.malformedGraph) { $0.nodes[1].inputs[0].index = index }
      try expectRefusal(.malformedGraph) { $0.nodes[1].outputs[0].index = index }
      try expectRefusal(.malformedGraph) { $0.outputs[0].value.index = index }
      try expectRefusal(.malformedGraph) { $0.parameters[0].value.index = index }
    }
  }

  @Test func refusesNamesAndValuesGivenTwice() throws {
    try expectRefusal(.malformedGraph) { $0.nodes[1].name = $0.nodes[0].name }
    try expectRefusal(.malformedGraph) { $0.parameters[1].name = $0.parameters[0].name }
    try expectRefusal(.malformedGraph) { $0.states[0].name = $0.inputs[0].name }
    try expectRefusal(.malformedGraph) { $0.inputs[0].name = "" }
    try expectRefusal(.malformedGraph) { $0.outputs.append($0.outputs[0]) }
    try expectRefusal(.malformedGraph) { $0.parameters[1].value = $0.parameters[0].value }
    try expectRefusal(.malformedGraph) { $0.nodes[2].outputs = $0.nodes[0].outputs }
  }

  @Test func refusesWrongTypes() throws {
    try expectRefusal(.invalidShape) { $0.types[$0.nodes[0].outputs[0].index].dimensions[3] = 5 }
    try expectRefusal(.invalidShape) { $0.types[$0.parameters[0].value.index].dimensions[0] = "K" }
    try expectRefusal(.invalidShape) {
      $0.types[$0.parameters[0].value.index].elementType = .int64
    }
    try expectRefusal(.invalidShape) { $0.types[$0.states[2].value.index].elementType = .float32 }
    try expectRefusal(.malformedGraph) { $0.nodes[0].inputs = [] }
  }

  @Test func refusesHostileExtents() throws {
    for hostile in [-1, .min, .max, 1 << 57] as [Int] {
      try expectRefusal(.invalidShape) {
        $0.types[$0.inputs[0].value.index].dimensions[1] = .fixed(hostile)
      }
    }
    try expectRefusal(.invalidShape) {
      $0.types[$0.inputs[0].value.index].dimensions = [.fixed(1 << 40), .fixed(1 << 40), 8, 1]
    }
  }

  @Test func refusesHostileAttributes() throws {
    for stride in [0, -1, .max, .min] as [Int] {
      try expectRefusal(.invalidAttribute) {
        guard case .convolution(var convolution) = $0.nodes[0].operation else { return }
        convolution.window.stride[0] = stride
        $0.nodes[0].operation = .convolution(convolution)
      }
    }
    try expectRefusal(.invalidShape) {
      guard case .convolution(var convolution) = $0.nodes[0].operation else { return }
      convolution.groups = 0
      $0.nodes[0].operation = .convolution(convolution)
    }
  }

  @Test func refusesMissingRunningStatistics() throws {
    try expectRefusal(.mismatchedParameters) { $0.states.remove(at: 1) }
  }

  @Test func comesBackFromAFile() throws {
    let graph = try graph()
    let data = try JSONEncoder().encode(graph)
    #expect(try JSONDecoder().decode(Graph.self, from: data) == graph)
    let gradient = try ResolveMode(.training).apply(to: lossGraph()).gradient(of: "loss")
    let gradientData = try JSONEncoder().encode(gradient)
    #expect(try JSONDecoder().decode(Graph.self, from: gradientData) == gradient)
  }

  /// Files from before layers said how they take statistics mean the default.
  @Test func readsOlderFiles() throws {
    let graph = try Graph(input: .features(4)) {
      $0.batchNormalization(
        statistics: BatchStatistics(
          singleSample: .skipUpdate, ghostBatchSize: 8, renormalizes: true))
    }
    let data = try JSONEncoder().encode(graph)
    #expect(try JSONDecoder().decode(Graph.self, from: data) == graph)
    let plain = try Graph(input: .features(4)) { $0.batchNormalization() }
    let encoder = JSONEncoder()
    encoder.outputFormatting = .sortedKeys
    let text = try #require(String(data: encoder.encode(plain), encoding: .utf8))
    let statistics = #","statistics":{"renormalizes":false,"singleSample":"error"}"#
    #expect(text.contains(statistics))
    let older = Data(text.replacingOccurrences(of: statistics, with: "").utf8)
    #expect(try JSONDecoder().decode(Graph.self, from: older) == plain)
    let slice = Data(#"{"axis":1,"start":2,"end":5}"#.utf8)
    #expect(try JSONDecoder().decode(Slice.self, from: slice) == Slice(axis: 1, start: 2, end: 5))
    let backwards = Slice(axis: 1, start: 5, end: 0, step: -2)
    let written = try JSONEncoder().encode(backwards)
    #expect(try JSONDecoder().decode(Slice.self, from: written) == backwards)
  }

  @Test func refusesOtherFiles() throws {
    let data = try JSONEncoder().encode(graph())
    let text = try #require(String(data: data, encoding: .utf8))
    for (from, to) in [
      ("\"version\":1", "\"version\":2"), ("\"version\":1", "\"version\":\"1\""),
      ("\"relu\"", "\"rule\""), ("\"nodes\"", "\"knots\""), ("float32", "float31"),
    ] {
      #expect(text.contains(from))
      let changed = Data(text.replacingOccurrences(of: from, with: to).utf8)
      #expect(throws: (any Error).self, "\(from) → \(to)") {
        try JSONDecoder().decode(Graph.self, from: changed)
      }
    }
  }

  private func lossGraph() throws -> Graph {
    try Graph(inputs: [("x", .features(4)), ("labels", TensorType(.int64, ["N"]))]) { values in
      let loss = values[0].dense(3).batchNormalization().dense(2)
        .apply(.softmaxCrossEntropy(SoftmaxCrossEntropy()), values[1])
      return ["loss": loss.reduced(.mean, axes: [0])]
    }
  }
}
