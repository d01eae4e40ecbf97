import ConvNetFormats
import ConvNetGraph
import FoundationEssentials
import Testing

@Suite struct ModelFileTests {
  static func model() throws -> Model {
    let graph = try Graph(input: .image(height: 6, width: 6, channels: 2)) { x in
      let y = x.convolution(4, kernel: 3, bias: false).batchNormalization().relu()
      return (y + y.convolution(4, kernel: 3, padding: .explicit(1), groups: 2).relu())
        .maxPooling(kernel: 2).dropout(0.1).flatten().dense(3).softmax()
    }
    var parameters: [String: Tensor] = [:]
    for (index, view) in graph.parameterViews.enumerated() {
      let shape = try #require(view.type.shape)
      let values = (0..<shape.count).map { Float($0 + index) * 0.1 }
      parameters[view.name] = Tensor(values, shape: shape)
    }
    return try Model(
      graph: graph, parameters: parameters, state: Model.initialState(of: graph),
      metadata: ["classes": "a\nb\nc", "format": "mine"])
  }

  /// The parts of a saved model, for tests that put it together differently.
  static func parts(in folder: String) throws -> (tensors: [String: Tensor], graph: String) {
    let path = folder + "/parts"
    try ModelFile.save(try model(), to: path)
    let file = try SafetensorsFile.open(path)
    return (try file.readAll(), try #require(file.metadata["graph"]))
  }

  static func load(_ tensors: [String: Tensor], graph: String, in folder: String) throws -> Model {
    let metadata = ["format": "convnet", "graph": graph]
    try SafetensorsFile.write(tensors, metadata: metadata, to: folder + "/changed")
    return try ModelFile.load(folder + "/changed")
  }

  @Test func roundTripKeepsEverything() throws {
    try withFolder { folder in
      let model = try Self.model()
      let path = folder + "/a.safetensors"
      try ModelFile.save(model, to: path)
      let loaded = try ModelFile.load(path)
      #expect(loaded.graph == model.graph)
      #expect(loaded.parameters == model.parameters)
      #expect(loaded.state == model.state)
      #expect(loaded.metadata == model.metadata)
      try ModelFile.save(loaded, to: folder + "/b.safetensors")
      #expect(try bytes(of: path) == bytes(of: folder + "/b.safetensors"))
    }
  }

  @Test func reportsAllTensorsThatDoNotFit() throws {
    try withFolder { folder in
      var (tensors, graph) = try Self.parts(in: folder)
      let names = try Self.model().parameters.keys.sorted()
      tensors[names[0]] = nil
      tensors[names[1]] = Tensor(zeros: [5])
      tensors["stranger"] = Tensor(zeros: [1])
      expectError(.mismatched, "\(names[0]) ") {
        _ = try Self.load(tensors, graph: graph, in: folder)
      }
      expectError(.mismatched, "stranger is unexpected") {
        _ = try Self.load(tensors, graph: graph, in: folder)
      }
      expectError(.mismatched, "\(names[1]) is float32 [5]") {
        _ = try Self.load(tensors, graph: graph, in: folder)
      }
      try SafetensorsFile.write(tensors, to: folder + "/weights")
      expectError(.mismatched, "no saved model") { _ = try ModelFile.load(folder + "/weights") }
    }
  }

  @Test func namesAndNumbersThatContradictAreNamed() throws {
    try withFolder { folder in
      let (tensors, graph) = try Self.parts(in: folder)
      func refused(_ text: String, replacing old: String, by new: String) throws {
        try #require(graph.contains(old))
        let changed = graph.replacing(old, with: new)
        expectError(.malformed, text) { _ = try Self.load(tensors, graph: changed, in: folder) }
      }
      let states = try Self.model().graph.states
      let mean = try #require(states.first { $0.role == .runningMean }?.name)
      let variance = try #require(states.first { $0.role == .runningVariance }?.name)
      try refused(
        "under one name", replacing: "\"variance\":\"\(variance)\"",
        by: "\"variance\":\"\(mean)\"")
      let groups = "\"groups\":2"
      try refused("do not fit", replacing: groups, by: "\"groups\":\(Int.max / 2 + 1)")
      try refused("no tensor can be", replacing: "[\"N\",6,6,2]", by: "[2,\(Int.max),6,2]")
      try refused("graph format 2", replacing: "\"version\":1", by: "\"version\":2")
    }
  }

  @Test func deepNestingIsRefused() throws {
    try withFolder { folder in
      let (tensors, _) = try Self.parts(in: folder)
      for text in ["[", "{\"nodes\":", "[[],"] {
        let deep = String(repeating: text, count: 100_000)
        expectError(.malformed, "deep") { _ = try Self.load(tensors, graph: deep, in: folder) }
      }
      expectError(.malformed, "the graph is not one") {
        _ = try Self.load(tensors, graph: "", in: folder)
      }
    }
  }

  @Test func damagedFilesAreRefusedOrRead() throws {
    try withFolder { folder in
      let graph = try Graph(input: .features(1)) { $0.dense(1) }
      let parameters = Dictionary(
        uniqueKeysWithValues: graph.parameterViews.map {
          ($0.name, Tensor(zeros: $0.type.shape ?? []))
        })
      try ModelFile.save(
        try Model(graph: graph, parameters: parameters, state: [:]), to: folder + "/a")
      try damage(try bytes(of: folder + "/a"), in: folder) { _ = try ModelFile.load($0) }
    }
  }
}
