import CConvNetMallocCounter
import ConvNetEngine
import ConvNetGraph
import ConvNetTestSupport
import OpenBLAS
import Synchronization
import Testing

/// A predictor gives what a plan of the folded model gives, to any number of callers, in bounded memory.
@Suite struct PredictorTests {
  /// Layers of every kind that reads weights, packed or as they are; without `fixed` height and width are
  /// symbols.
  static func network(fixed: Bool = true) throws -> Graph {
    let size: Dimension = fixed ? 10 : "S"
    return try Graph(inputs: [("input", TensorType(["N", size, size, 3]))]) { values in
      let stem = values[0].convolution(8, kernel: 3, bias: false).batchNormalization().relu()
      let body =
        fixed ? stem.residualBlock(12, stride: 2) : stem.convolution(12, kernel: 3, stride: 2)
      let features = body.depthwiseConvolution(kernel: 3).batchNormalization().relu6()
        .convolution(20, kernel: 1).convolution(12, kernel: 3, groups: 4).relu()
        .globalAveragePooling()
      return ["features": features, "output": features.batchNormalization().dense(5)]
    }
  }

  static func images(_ count: Int, size: Int = 10, seed: UInt64 = 11) -> Tensor {
    TestData.uniform([count, size, size, 3], seed: seed)
  }

  /// What a plan on a store gives.
  static func planned(
    _ model: Model, _ inputs: [String: Tensor], folds: Bool = true
  ) throws -> [String: Tensor] {
    let model = folds ? try FoldBatchNormalization().apply(to: model) : model
    let plan = try Plan(
      model, mode: .inference, inputShapes: inputs.mapValues(\.shape), lanes: TestLanes.all[1])
    var workspace = plan.makeWorkspace(for: ParameterStore(model))
    for (name, tensor) in inputs { try workspace.setInput(name, to: tensor) }
    plan.run(in: &workspace)
    return try model.graph.outputs.reduce(into: [:]) { $0[$1.name] = try workspace.output($1.name) }
  }

  static func options(_ lanes: Int = 1, concurrency: Int? = nil, plans: Int = 8)
    -> PredictorOptions
  {
    PredictorOptions(
      lanes: TestLanes.all[lanes], maximumConcurrency: concurrency, planCacheLimit: plans)
  }

  @Test(arguments: [true, false], [true, false])
  func givesThePlansBits(fixed: Bool, folds: Bool) throws {
    let model = try randomModel(Self.network(fixed: fixed), seed: 1)
    var options = Self.options()
    options.foldsBatchNormalization = folds
    let predictor = try Predictor(model, options: options)
    for (count, size) in [(1, 10), (2, 10), (3, 10), (1, 12), (5, 10)] where !fixed || size == 10 {
      let x = Self.images(count, size: size)
      let expected = try Self.planned(model, ["input": x], folds: folds)
      #expect(try predictor.predict(["input": x]) == expected, "\(count) of \(size)")
      #expect(try predictor.predict(x, output: "output") == expected["output"])
      #expect(try predictor.predict(["input": x], outputs: ["features"]).count == 1)
    }
  }

  /// Every built-in network runs after its packed sources have been released, for several batches.
  @Test(arguments: Network.allCases) func networksRunOnPackedWeights(_ network: Network) throws {
    guard network.defaultSize <= 64 else { return }
    let graph = try network.graph()
    let model = try randomModel(graph, seed: 2)
    let predictor = try Predictor(model, options: Self.options())
    let (size, channels) = (network.defaultSize, network.defaultChannels)
    for count in [2, 1, 3] {
      let x = TestData.uniform([count, size, size, channels], seed: 3)
      #expect(try predictor.predict(x) == Self.planned(model, ["input": x])["output"])
    }
  }

  /// 8 tasks, then 8 threads, ask for three shapes in turn; the bits are those of one caller.
  @Test func manyCallersGetTheSameBits() async throws {
    let model = try randomModel(Self.network(), seed: 4)
    let inputs = (1...3).map { Self.images($0, seed: 20 + UInt64($0)) }
    let expected = try inputs.map { try Self.planned(model, ["input": $0])["output"] }
    for concurrency in [1, 3] {
      let predictor = try Predictor(
        model, options: Self.options(concurrency: concurrency, plans: 2))
      try await withThrowingTaskGroup(of: Int.self) { group in
        for task in 0..<8 {
          group.addTask {
            var wrong = 0
            for round in 0..<20 {
              let index = (task + round) % 3
              let y = try await predictor.predict(inputs[index], output: "output")
              if y != expected[index] { wrong += 1 }
            }
            return wrong
          }
        }
        for try await wrong in group { #expect(wrong == 0) }
      }
      let wrong = Atomic(0)
      try Lanes(count: 8).run(pieces: 160) { piece, _ in
        let y = try? predictor.predict(inputs[piece % 3], output: "output")
        if y != expected[piece % 3] { wrong.add(1, ordering: .relaxed) }
      }
      #expect(wrong.load(ordering: .relaxed) == 0)
    }
  }

  /// Callers who ask for one shape at the same moment get one plan.
  @Test func onePlanForOneShape() throws {
    let predictor = try Predictor(
      randomModel(Self.network(), seed: 5), options: Self.options(concurrency: 8))
    let plans = Mutex<Set<ObjectIdentifier>>([])
    try Lanes(count: 8).run(pieces: 8) { _, _ in
      guard let plan = try? predictor.plan(inputShapes: ["input": [2, 10, 10, 3]]) else { return }
      plans.withLock { _ = $0.insert(ObjectIdentifier(plan)) }
    }
    #expect(plans.withLock(\.count) == 1)
  }

  /// Plans past the limit go, the least recently used first.
  @Test func plansAreBounded() throws {
    let predictor = try Predictor(
      randomModel(Self.network(), seed: 6), options: Self.options(plans: 2))
    func plan(_ count: Int) throws -> Plan {
      try predictor.plan(inputShapes: ["input": [count, 10, 10, 3]])
    }
    weak let first = try plan(1)
    let second = try plan(2)
    #expect(first != nil)
    #expect(try plan(1) === first)
    _ = try plan(3)
    #expect(try plan(1) === first)
    #expect(try plan(2) !== second)
    _ = try plan(3)
    #expect(first == nil)
  }

  /// Over random shapes memory stays within weights, one workspace of the largest kept plan, and no more;
  /// a large batch's memory goes with its plan.
  @Test func memoryReachesAPlateau() throws {
    let predictor = try Predictor(
      randomModel(Self.network(fixed: false), seed: 7), options: Self.options(plans: 3))
    func predict(_ count: Int, _ size: Int) throws -> Int {
      _ = try predictor.predict(Self.images(count, size: size), output: "output")
      return predictor.residentByteCount
    }
    let small = try predict(1, 8)
    let random = Philox(seed: 8, stream: 0)
    var sizes: [Int] = []
    for round in 0..<60 {
      let word = random.word(UInt64(round))
      sizes.append(try predict(1 + Int(word % 4), 8 + Int(word >> 8) % 6))
    }
    let largest = try predict(4, 13)
    #expect(sizes.allSatisfy { $0 <= largest })
    for size in [9, 10, 11] { _ = try predict(1, size) }
    #expect(try predict(1, 8) < largest)
    for size in [8, 8, 8] { #expect(try predict(1, size) >= small) }
  }

  /// With a fixed geometry nothing is left of a filter but its packed form; otherwise both stay.
  @Test func packedSourcesAreReleased() throws {
    func bytes(fixed: Bool) throws -> (before: Int, after: Int) {
      let graph = try Graph(
        inputs: [("input", TensorType(["N", fixed ? 6 : "H", 6, 64]))]
      ) { ["output": $0[0].convolution(64, kernel: 3).globalAveragePooling().dense(64)] }
      let predictor = try Predictor(randomModel(graph, seed: 9), options: Self.options())
      let before = predictor.residentByteCount
      let plan = try predictor.plan(inputShapes: ["input": [1, 6, 6, 64]])
      let packed = predictor.residentByteCount
      // The plan's own account is of the same packed weights.
      let x = Tensor(zeros: [1, 6, 6, 64])
      _ = try predictor.predict(x)
      #expect(plan.peakByteCount >= predictor.residentByteCount - before)
      return (before, packed)
    }
    let (vectors, weights) = (2 * 64 * 4, (9 * 64 * 64 + 64 * 64) * 4)
    let fixed = try bytes(fixed: true)
    let dynamic = try bytes(fixed: false)
    #expect(fixed.before == weights + vectors)
    #expect(dynamic.after - fixed.after == weights)
    #expect(dynamic.after > dynamic.before)
  }

  /// The model's tensors are shared: writing to the caller's own changes nothing here.
  @Test func theStoreIsSealed() throws {
    var model = try randomModel(Self.network(fixed: false), seed: 10)
    var options = Self.options()
    options.foldsBatchNormalization = false
    let predictor = try Predictor(model, options: options)
    let x = Self.images(2)
    let before = try predictor.predict(["input": x])
    for (name, old) in model.parameters {
      var tensor = old
      try model.setParameter(name, to: Tensor(zeros: old.shape))
      tensor.withMutableElements { (values: inout MutableSpan<Float>) in
        for index in values.indices { values[index] = .nan }
      }
    }
    #expect(try predictor.predict(["input": x]) == before)
    // Another size packs nothing anew or from the same values.
    #expect(
      try predictor.predict(["input": Self.images(1, size: 12)])["output"]?.floats[0].isNaN == false
    )
  }

  @Test func mistakesAreSentences() throws {
    let graph = try Graph(inputs: [
      ("left", .features(3)), ("right", .features(3)), ("ids", TensorType(.int64, ["N"])),
    ]) { ["sum": $0[0] + $0[1], "ids": $0[2]] }
    let predictor = try Predictor(randomModel(graph, seed: 12), options: Self.options())
    let two = Tensor(zeros: [2, 3])
    let ids = Tensor([7, 8] as [Int64])
    func mistake(_ inputs: [String: Tensor], outputs: [String]? = nil) -> String? {
      let error = #expect(throws: PlanError.self) {
        try predictor.predict(inputs, outputs: outputs)
      }
      return error?.description
    }
    let all = "left float32 [N, 3], right float32 [N, 3], ids int64 [N]"
    #expect(mistake(["left": two, "ids": ids]) == "right: is missing; the inputs are: \(all)")
    #expect(
      mistake(["left": two, "right": two, "ids": ids, "x": two])
        == "x: there is no input of this name; there are: \(all)")
    #expect(
      mistake(["left": two, "right": Tensor(zeros: [3, 3]), "ids": ids])
        == "right: is float32 [N, 3] where N is 2, not float32 [3, 3]")
    #expect(
      mistake(["left": two, "right": Tensor(zeros: [2, 4]), "ids": ids])
        == "right: is float32 [N, 3] where N is 2, not float32 [2, 4]")
    #expect(
      mistake(["left": Tensor(zeros: [2]), "right": two, "ids": ids])
        == "left: is float32 [N, 3], not float32 [2]")
    #expect(
      mistake(["left": two, "right": two, "ids": Tensor([7, 8] as [Float])])
        == "ids: is int64 [N] where N is 2, not float32 [2]")
    let names = predictor.graph.outputs.map(\.name).joined(separator: ", ")
    #expect(
      mistake(["left": two, "right": two, "ids": ids], outputs: ["sum", "y"])
        == "y: there is no output of this name; there are: \(names)"
    )
    #expect(throws: PlanError.self) { try predictor.predict(two) }
    #expect(throws: PlanError.self) { try predictor.plan(inputShapes: ["left": [2, 3]]) }
    #expect(
      try predictor.predict(["left": two, "right": two, "ids": ids], outputs: ["ids"]) == [
        "ids": ids
      ])
    for options in [Self.options(concurrency: 0), Self.options(plans: 0)] {
      #expect(throws: PlanError.self) {
        try Predictor(randomModel(graph, seed: 12), options: options)
      }
    }
    // Several outputs, none named; and an image too small for the network.
    let images = try Predictor(randomModel(Self.network(fixed: false), seed: 13))
    #expect(throws: PlanError.self) { try images.predict(Self.images(1)) }
  }

  /// An empty batch is a batch.
  @Test func trap12AnEmptyBatchIsPredicted() throws {
    let predictor = try Predictor(randomModel(Self.network(), seed: 14), options: Self.options())
    #expect(try predictor.predict(Self.images(0), output: "output") == Tensor(zeros: [0, 5]))
  }

  /// Allocations of one prediction whose plan and workspace are there, on the calling thread and the lanes.
  private static func allocations() throws -> [Int] {
    BLAS.bootstrap(kernel: .named("Haswell"))
    let predictor = try Predictor(randomModel(network(), seed: 15), options: options())
    let x = images(2)
    for _ in 0..<2 { _ = try predictor.predict(x, output: "output") }
    return try (0..<4).map { _ in
      cmc_start()
      _ = try predictor.predict(x, output: "output")
      return cmc_stop()
    }
  }

  /// The lists and symbols of the request and the result's list, object and bytes are 7 in a release build;
  /// a debug build makes objects of closures, 26 in all.
  @Test func aPredictionAllocatesAFixedNumber() async {
    await #expect(processExitsWith: .success) {
      let counts = try PredictorTests.allocations()
      guard Set(counts).count == 1, counts[0] <= 32 else { fatalError("\(counts) allocations") }
    }
  }
}
