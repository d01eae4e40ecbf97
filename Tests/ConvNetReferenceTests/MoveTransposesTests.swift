import ConvNetGraph
import ConvNetReference
import ConvNetTestSupport
import Testing

/// Networks written channels first, with a transpose on either side of every layer that works on
/// channels last: what remains of them, and that they compute the same.
@Suite struct MoveTransposesTests {
  struct Case: CustomTestStringConvertible {
    var testDescription: String
    var input: TensorType = TensorType(["N", 4, 6, 6])
    /// Transposes that remain; the first of an image that comes channels first is one.
    var remaining: Int
    var network: @Sendable (Graph.Value) -> Graph.Value
  }

  static let cases: [Case] = [
    Case(testDescription: "residual block", remaining: 1) {
      let x = $0.unitFirst(4)
      let y = x.unitFirst(8, stride: 2).convolutionFirst(8).batchNormalization(axis: 1)
      let shortcut = x.convolutionFirst(8, kernel: 1, stride: 2).batchNormalization(axis: 1)
      return (y + shortcut).relu().pooledFirst().flatten().dense(3)
    },
    Case(testDescription: "an image handed out channels first", remaining: 2) {
      $0.unitFirst(4).unitFirst(3)
    },
    Case(testDescription: "dense block", remaining: 1) {
      var x = $0.unitFirst(4)
      for _ in 0..<3 {
        let y = x.batchNormalization(axis: 1).relu().unitFirst(4, kernel: 1).convolutionFirst(2)
        x = x.concatenated(with: y, axis: 1)
      }
      return x.channelsLast { $0.averagePooling(kernel: 2) }.reduced(.mean, axes: [2, 3]).dense(3)
    },
    Case(testDescription: "inception block", remaining: 1) {
      let x = $0.unitFirst(4)
      let pooled = x.channelsLast { $0.averagePooling(kernel: 3, stride: 1, padding: .same) }
      let largest = x.channelsLast { $0.maxPooling(kernel: 3, stride: 1, padding: .same) }
      return x.unitFirst(2, kernel: 1).concatenated(
        with: pooled.unitFirst(2, kernel: 1), largest, x.unitFirst(2).unitFirst(3), axis: 1
      ).reduced(.mean, axes: [-1, -2]).dense(3)
    },
    Case(testDescription: "squeeze and excitation", remaining: 1) {
      let x = $0.unitFirst(4)
      let gate = x.pooledFirst().convolutionFirst(2, kernel: 1, bias: true).relu()
        .convolutionFirst(4, kernel: 1, bias: true).sigmoid()
      return (x * gate).unitFirst(3).pooledFirst().flatten()
    },
    Case(testDescription: "squeeze and excitation by dense layers", remaining: 1) {
      let x = $0.unitFirst(4)
      let gate = x.reduced(.mean, axes: [2, 3]).dense(2).relu().dense(4).sigmoid()
      return (x * gate.reshaped([4, 1, 1])).unitFirst(3).pooledFirst().flatten()
    },
    // The shuffle moves data, whatever the layout.
    Case(testDescription: "channel shuffle", remaining: 2) {
      $0.unitFirst(6, groups: 2).shuffledFirst(groups: 2).unitFirst(4).pooledFirst().flatten()
    },
    Case(testDescription: "depth to space", remaining: 2) {
      $0.unitFirst(8).depthToSpaceFirst(2).unitFirst(3).pooledFirst().flatten()
    },
    Case(testDescription: "factors of channels", remaining: 1) {
      $0.unitFirst(4).scaled(by: "a", [4, 1, 1]).scaled(by: "b", [1, 4, 1, 1], .add)
        .scaled(by: "c", [], .subtract, parameterFirst: true).scaled(by: "d", [6, 6])
        .scaled(by: "e", [1, 1, 6, 1], .maximum).unitFirst(3).pooledFirst().flatten()
    },
    Case(testDescription: "flattened image", remaining: 1) {
      $0.unitFirst(4).channelsLast { $0.maxPooling(kernel: 2) }.flatten().dense(5).relu().dense(3)
    },
    Case(testDescription: "slices of channels and rows", remaining: 1) {
      let x = $0.unitFirst(8)
      return x.sliced(axis: 1, 0..<4).relu6().concatenated(
        with: x.sliced(axis: 1, 4..<8).sigmoid(), axis: 1
      ).sliced(axis: 2, 1..<5).unitFirst(3).pooledFirst().flatten()
    },
    Case(testDescription: "layer norm of channels", remaining: 1) {
      let x = $0.unitFirst(4)
      let centred = x - x.reduced(.mean, axes: [1], keepsAxes: true)
      let variance = centred.map(.square).reduced(.mean, axes: [1], keepsAxes: true)
      return (centred / (variance + 1e-5).map(.squareRoot)).convolutionFirst(3)
        .reduced(.mean, axes: [2, 3])
    },
    Case(testDescription: "softmax over channels", remaining: 1) {
      $0.unitFirst(4).transposed([0, 2, 3, 1]).softmax().transposed([0, 3, 1, 2])
        .convolutionFirst(3).pooledFirst().flatten()
    },
    Case(testDescription: "open extents", input: TensorType(["N", 4, "H", "W"]), remaining: 1) {
      let x = $0.unitFirst(4)
      return (x + x.sigmoid()).unitFirst(4).pooledFirst().flatten().dense(3)
    },
    // Nothing is gained, and a transpose of each branch would cost more.
    Case(testDescription: "groups of channels and back", remaining: 1) {
      let x = $0.unitFirst(4)
      return x.reshaped([2, 2, 6, 6]).relu6().apply(.reshapeLike, x).unitFirst(3).pooledFirst()
        .flatten()
    },
    Case(testDescription: "two readers of one transpose", remaining: 2) {
      let x = $0.unitFirst(4)
      return x.sigmoid().reshaped([144]).concatenated(with: x.tanh().reshaped([144]))
    },
    Case(testDescription: "transposed matrices", input: TensorType(["N", 4]), remaining: 0) {
      let x = $0.dense(3).transposed([1, 0])
      let y = x.apply(.matrixMultiply(MatrixMultiply()), $0)
      return y.relu().transposed([1, 0]).dense(2)
    },
    Case(testDescription: "there and back", remaining: 0) { $0.channelsLast { $0 } },
    Case(testDescription: "in circles", remaining: 0) {
      $0.transposed([1, 2, 3, 0]).relu().transposed([1, 2, 3, 0]).relu().transposed([2, 3, 0, 1])
    },
    Case(testDescription: "axes of extent 1", input: TensorType(["N", 1, 1, 5]), remaining: 0) {
      $0.transposed([0, 3, 1, 2]).relu().transposed([2, 0, 1, 3])
    },
  ]

  private func values(_ graph: Graph, seed: UInt64) -> [String: ReferenceTensor] {
    var values: [String: ReferenceTensor] = [:]
    for (index, port) in graph.inputs.enumerated() {
      let shape = Shape(graph.type(of: port.value).dimensions.map { $0.extent ?? 6 })
      values[port.name] = TestData.doubles(shape, seed: seed + UInt64(index))
    }
    for (index, parameter) in graph.parameters.enumerated() {
      values[parameter.name] = TestData.doubles(
        graph.type(of: parameter.value).shape ?? [], seed: seed + 100 + UInt64(index))
    }
    for (index, state) in graph.states.enumerated() {
      let type = graph.type(of: state.value)
      values[state.name] = TestData.doubles(
        type.shape ?? [], in: 0.5...1.5, seed: seed + 200 + UInt64(index))
      values[state.name]?.elementType = type.elementType
    }
    return values
  }

  /// Sums in another order differ by their length times 2⁻⁵³ of their largest part; through the few
  /// layers of these networks, whose factors are below 10, that grows less than a millionfold.
  private func expectSame(
    _ moved: Graph, _ graph: Graph, seed: UInt64,
    _ comment: String, sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let values = values(graph, seed: seed)
    let expected = try Reference(unbound: graph).runInDouble(values)
    let found = try Reference(unbound: moved).runInDouble(values)
    #expect(found.keys.sorted() == expected.keys.sorted(), sourceLocation: sourceLocation)
    for (name, expected) in expected {
      let found = try #require(found[name])
      #expect(found.shape == expected.shape, sourceLocation: sourceLocation)
      let largest = expected.values.map(abs).max() ?? 0
      expectClose(
        found.values, expected.values, tolerance: 0x1p-33 * max(largest, 1), "\(comment), \(name)",
        sourceLocation: sourceLocation)
    }
  }

  private func expectPorts(_ moved: Graph, _ graph: Graph) {
    #expect(moved.inputs == graph.inputs)
    #expect(moved.parameters == graph.parameters)
    #expect(moved.states == graph.states)
    #expect(moved.outputs.map(\.name) == graph.outputs.map(\.name))
    #expect(moved.outputViews.map(\.type) == graph.outputViews.map(\.type))
  }

  @Test(arguments: cases) func inference(_ example: Case) throws {
    let graph = try ResolveMode(.inference).apply(
      to: Graph(input: example.input, example.network))
    let moved = try MoveTransposes().apply(to: graph)
    try moved.verify()
    expectPorts(moved, graph)
    #expect(moved.transposeCount == example.remaining)
    #expect(try MoveTransposes().apply(to: moved).transposeCount == example.remaining)
    try expectSame(moved, graph, seed: 71, example.testDescription)
  }

  @Test(arguments: cases) func training(_ example: Case) throws {
    var graph = try Graph(input: example.input) {
      let y = example.network($0)
      return y.map(.square).reduced(.sum, axes: Array(0..<y.type.rank))
    }
    let extents = example.input.dimensions.map { $0.extent ?? 6 }
    let moved = try MoveTransposes(foldsConstants: false).apply(to: graph)
    try moved.verify()
    expectPorts(moved, graph)
    #expect(moved.transposeCount <= graph.transposeCount)
    graph = try graph.trainingStep(inputShapes: ["input": Shape(extents)], loss: "output").graph
    let step = try moved.trainingStep(inputShapes: ["input": Shape(extents)], loss: "output").graph
    try expectSame(step, graph, seed: 72, example.testDescription)
  }

  /// Batch norm ends at the last axis, where it can be folded and fused.
  @Test func batchNormEndsAtTheLastAxis() throws {
    let graph = try Graph(input: TensorType(["N", 4, 6, 6])) { $0.unitFirst(4).unitFirst(3) }
    let moved = try MoveTransposes().apply(to: graph)
    for node in moved.nodes {
      switch node.operation {
      case .batchMoments(let moments): #expect(moments.axis == -1)
      case .normalize(let normalize): #expect(normalize.axis == -1)
      default: break
      }
    }
    #expect(
      moved.nodes.map(\.operation.name) == [
        "transpose", "convolution", "batchMoments", "normalize", "relu", "convolution",
        "batchMoments", "normalize", "relu", "transpose",
      ])
  }

  /// The weights of a dense layer after an image take its order instead of the image.
  @Test func weightsFollowAFlattenedImage() throws {
    for folds in [true, false] {
      let graph = try Graph(input: TensorType([1, 4, 6, 6])) {
        $0.convolutionFirst(3).flatten().dense(2)
      }
      let moved = try MoveTransposes(foldsConstants: folds).apply(to: graph)
      #expect(moved.transposeCount == (folds ? 1 : 2))
    }
    let shared = try Graph(input: TensorType(["N", 4, 6, 6])) {
      let x = $0.convolutionFirst(3).flatten()
      return x.dense(2).concatenated(with: x)
    }
    #expect(try MoveTransposes().apply(to: shared).transposeCount == 2)
  }

  /// A transpose stays before what makes a tensor larger and behind what makes it smaller.
  @Test func transposesStayWhereTensorsAreSmall() throws {
    let graph = try Graph(inputs: [("x", TensorType([2, 3, 4])), ("z", TensorType([2, 4, 3]))]) {
      let wide = $0[0].transposed([0, 2, 1]).relu().apply(.broadcast(Broadcast([5, 1, 1, 1])))
      let narrow = $0[1].relu().transposed([0, 2, 1]).reduced(.sum, axes: [1]).sigmoid()
      return ["wide": wide, "narrow": narrow]
    }
    let moved = try MoveTransposes().apply(to: graph)
    try moved.verify()
    #expect(graph.transposedElementCount == 48)
    #expect(moved.transposedElementCount == 24)
    #expect(moved.transposeCount == 1)
  }

  /// An output is never made the same value as an input or another output.
  @Test func outputsStayApart() throws {
    let graph = try Graph(inputs: [("x", TensorType([2, 3]))]) {
      let y = $0[0].relu()
      return [
        "a": $0[0].transposed([1, 0]).transposed([1, 0]), "b": y,
        "c": y.transposed([1, 0]).transposed([1, 0]), "d": y.transposed([1, 0]),
        "e": y.transposed([1, 0]),
      ]
    }
    let moved = try MoveTransposes().apply(to: graph)
    try moved.verify()
    expectPorts(moved, graph)
    #expect(Set(moved.outputs.map(\.value)).count == 5)
    #expect(!moved.outputs.map(\.value).contains(moved.inputs[0].value))
    #expect(moved.transposeCount == 1)
    try expectSame(moved, graph, seed: 73, "outputs")
  }

  /// Networks that are channels last have nothing to move.
  @Test func networksWithoutTransposesStay() throws {
    let graph = try Network.lenet.graph()
    #expect(try MoveTransposes().apply(to: graph) == graph)
  }

  /// Operations named by axes, of which each has its own rule.
  @Test func operationsNamedByAxes() throws {
    let resize = Resize(
      axis: 2, extent: .scale(2), interpolation: .linear, coordinates: .halfPixel)
    let graph = try Graph(input: TensorType(["N", 4, 6, 5])) {
      let x = $0.convolutionFirst(3)
      let builder = x.builder
      let index = builder.add(.constant(Constant(integers: [1], shape: [])), [])[0]
      let part = Graph.Value(
        builder: builder, id: builder.add(.gather(Gather(axis: 1)), x.id, index))
      let padded = x.apply(.pad(Pad(before: [0, 1, 2, 0], after: [0, 0, 1, 0])))
        .apply(.resize(resize)).convolutionFirst(2)
      let zero = padded.apply(.fill(0))
      let larger = padded.apply(.compare(.greater), zero)
      let chosen = larger.apply(.select, padded, zero).convolutionFirst(2).pooledFirst()
      return chosen.flatten().concatenated(
        with: part.reduced(.mean, axes: [1, 2], keepsAxes: true).reshaped([1]))
    }
    let moved = try MoveTransposes().apply(to: graph)
    try moved.verify()
    expectPorts(moved, graph)
    #expect(moved.transposeCount == 1)
    try expectSame(moved, graph, seed: 74, "axes")
  }

  /// Extents are read from whatever layout there is, and reshapes by extents follow their types.
  @Test func extentsAsData() throws {
    let graph = try Graph(input: TensorType(["N", 4, "H", "W"])) {
      let x = $0.convolutionFirst(3)
      let builder = x.builder
      func integers(_ values: [Int64]) -> Graph.ValueID {
        builder.add(.constant(Constant(integers: values, shape: [values.count])), [])[0]
      }
      let sizes = builder.add(.deferred(.extents(start: 2, end: nil)), x.id)
      let doubled = builder.add(.combine(.multiply), sizes, integers([2, 2]))
      let axes = [2, 3].map {
        Resize(
          axis: $0, extent: .scale(1), interpolation: .nearest(.floor), coordinates: .asymmetric)
      }
      let large = builder.add(.deferred(.resize(axes)), x.id, doubled)
      let cut = builder.add(
        .deferred(.slice),
        [large, integers([0, 1]), sizes, integers([-1, 2]), integers([1, 1])])[0]
      let padded = builder.add(
        .deferred(.pad(.constant(1))), cut, integers([0, 0, 1, 0, 0, 0, 0, 2]))
      let tiled = builder.add(.deferred(.tile), padded, integers([1, 1, 1, 2]))
      let pooled = Graph.Value(builder: builder, id: tiled).convolutionFirst(5).pooledFirst()
      let rows = builder.add(
        .concatenate(Concatenate(axis: 0)),
        builder.add(.deferred(.extents(start: 0, end: 1)), pooled.id), integers([-1]))
      return Graph.Value(
        builder: builder,
        id: builder.add(.deferred(.reshape(allowsZero: false)), pooled.id, rows))
    }
    let moved = try RemoveUnused().apply(to: MoveTransposes().apply(to: graph))
    try moved.verify()
    expectPorts(moved, graph)
    #expect(moved.transposeCount == 1)
    try expectSame(moved, graph, seed: 75, "extents")
    let concrete = try moved.resolved(inputShapes: ["input": [2, 4, 5, 6]])
    #expect(concrete.transposeCount == 1)
    #expect(concrete.outputViews[0].type == TensorType([2, 5]))
  }
}
