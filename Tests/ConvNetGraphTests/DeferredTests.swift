import ConvNetGraph
import Testing

/// Extents as data: followed as symbols while a graph is described, gone when its shapes are concrete.
@Suite struct DeferredTests {
  struct SliceCase: Sendable {
    var starts: [Int64]
    var ends: [Int64]
    var shape: Shape
  }

  /// A graph of one float32 input `[N, 3, H, W]`, with one output.
  private func graph(
    _ dimensions: [Dimension] = ["N", 3, "H", "W"],
    _ describe: (GraphBuilder, Graph.ValueID) -> Graph.ValueID
  ) throws -> Graph {
    let builder = GraphBuilder()
    let x = builder.addInput("x", TensorType(dimensions))
    builder.addOutput("y", describe(builder, x))
    let graph = try builder.finish()
    try graph.verify()
    return graph
  }

  private func integers(_ builder: GraphBuilder, _ values: [Int64]) -> Graph.ValueID {
    builder.add(.constant(Constant(integers: values, shape: [values.count])), [])[0]
  }

  private func scalar(_ builder: GraphBuilder, _ value: Int64) -> Graph.ValueID {
    builder.add(.constant(Constant(integers: [value], shape: [])), [])[0]
  }

  private func extents(_ builder: GraphBuilder, _ x: Graph.ValueID) -> Graph.ValueID {
    builder.add(.deferred(.extents(start: 0, end: nil)), x)
  }

  private func operations(_ graph: Graph, _ shape: Shape) throws -> [Operation] {
    try graph.resolved(inputShapes: ["x": shape]).nodes.map(\.operation)
  }

  private func outputType(_ graph: Graph) -> TensorType { graph.type(of: graph.outputs[0].value) }

  @Test func flattensOpenExtents() throws {
    let graph = try graph { builder, x in
      let count = builder.add(.gather(Gather(axis: 0)), extents(builder, x), scalar(builder, 0))
      let first = builder.add(.reshape(Reshape([.fixed(1)])), count)
      let shape = builder.add(
        .concatenate(Concatenate(axis: 0)), first, integers(builder, [-1]))
      return builder.add(.deferred(.reshape(allowsZero: false)), x, shape)
    }
    #expect(outputType(graph) == TensorType(["N", .symbol("H·W·3")]))
    #expect(
      try operations(graph, [2, 3, 4, 5]) == [.reshape(Reshape([.fixed(2), .rest]))])
  }

  @Test func zerosKeepExtentsOfAReshape() throws {
    let graph = try graph { builder, x in
      builder.add(.deferred(.reshape(allowsZero: false)), x, integers(builder, [0, 0, -1]))
    }
    #expect(outputType(graph) == TensorType(["N", 3, .symbol("H·W")]))
    #expect(throws: GraphError.self) {
      try self.graph([2, 3, 0, 4]) { builder, x in
        builder.add(.deferred(.reshape(allowsZero: true)), x, integers(builder, [0, 5, -1]))
      }
    }
  }

  @Test func resizesByArithmeticOnExtents() throws {
    let axes = [2, 3].map {
      Resize(
        axis: $0, extent: .scale(1), interpolation: .nearest(.floor), coordinates: .asymmetric)
    }
    let graph = try graph { builder, x in
      let spatial = builder.add(
        .slice(Slice(axis: 0, start: 2, end: 4)), extents(builder, x))
      let sizes = builder.add(.combine(.multiply), spatial, integers(builder, [2, 3]))
      return builder.add(.deferred(.resize(axes)), x, sizes)
    }
    #expect(outputType(graph) == TensorType(["N", 3, .symbol("H·2"), .symbol("W·3")]))
    let resolved = try graph.resolved(inputShapes: ["x": [1, 3, 4, 5]])
    #expect(resolved.type(of: resolved.outputs[0].value) == TensorType(.float32, [1, 3, 8, 15]))
    #expect(resolved.nodes.count == 2)
  }

  @Test(arguments: [
    SliceCase(starts: [1, -2], ends: [.max, -1], shape: [1, 3, 4, 1]),
    SliceCase(starts: [0, 0], ends: [.max, .max], shape: [1, 3, 5, 2]),
    SliceCase(starts: [7, 0], ends: [9, -9], shape: [1, 3, 0, 0]),
  ])
  func slicesAreCutToTheirAxes(_ example: SliceCase) throws {
    let graph = try graph { builder, x in
      builder.add(
        .deferred(.slice),
        [x] + [example.starts, example.ends, [2, 3], [1, 1]].map { integers(builder, $0) })[0]
    }
    let resolved = try graph.resolved(inputShapes: ["x": [1, 3, 5, 2]])
    #expect(resolved.type(of: resolved.outputs[0].value).shape == example.shape)
  }

  @Test func tilesFillsAndRanges() throws {
    let tiled = try graph { builder, x in
      builder.add(.deferred(.tile), x, integers(builder, [1, 2, 1, 3]))
    }
    #expect(outputType(tiled) == TensorType(["N", 6, "H", .symbol("W·3")]))
    let tiledShape = try tiled.resolved(inputShapes: ["x": [2, 3, 4, 5]])
    #expect(tiledShape.type(of: tiledShape.outputs[0].value).shape == [2, 6, 4, 15])

    let filled = try graph { builder, x in
      let one = Constant(numbers: [1], shape: [1])
      let ones = builder.add(.deferred(.fill(one)), extents(builder, x))
      return builder.add(.combine(.add), x, ones)
    }
    #expect(outputType(filled) == TensorType(["N", 3, "H", "W"]))
    #expect(
      try operations(filled, [1, 3, 2, 2]).contains(.broadcast(Broadcast([1, 3, 2, 2]))))

    let range = try graph { builder, x in
      let height = builder.add(.gather(Gather(axis: 0)), extents(builder, x), scalar(builder, 2))
      return builder.add(.deferred(.range), scalar(builder, 0), height, scalar(builder, 1))
    }
    #expect(outputType(range) == TensorType(.int64, ["H"]))
    #expect(
      try operations(range, [1, 3, 4, 1]) == [
        .constant(Constant(integers: [0, 1, 2, 3], shape: [4]))
      ])
  }

  @Test func negativePaddingCuts() throws {
    let graph = try graph { builder, x in
      builder.add(
        .deferred(.pad(.constant(0))), x, integers(builder, [0, 0, -1, 2, 0, 0, -1, 0]))
    }
    let resolved = try graph.resolved(inputShapes: ["x": [1, 3, 5, 2]])
    #expect(resolved.type(of: resolved.outputs[0].value).shape == [1, 3, 3, 4])
  }

  /// Extents that a file asks for are refused before anything of their size is made.
  @Test func hostileExtentsAreRefused() throws {
    let big = Int64.max
    #expect(throws: GraphError.self) {
      try self.graph { builder, _ in
        builder.add(
          .deferred(.fill(Constant(numbers: [0], shape: [1]))), integers(builder, [big, big]))
      }
    }
    #expect(throws: GraphError.self) {
      try self.graph { builder, _ in
        builder.add(.deferred(.range), scalar(builder, 0), scalar(builder, big), scalar(builder, 1))
      }
    }
    #expect(throws: GraphError.self) {
      try self.graph { builder, x in
        builder.add(.deferred(.reshape(allowsZero: false)), x, integers(builder, [big, -1, big]))
      }
    }
    #expect(throws: GraphError.self) {
      try self.graph { builder, x in
        builder.add(.deferred(.tile), x, integers(builder, [big, big, big, big]))
      }
    }
  }

  /// A reshape by data has no type, and says so.
  @Test func extentsThatDependOnDataAreRefused() throws {
    #expect(throws: GraphError.self) {
      let builder = GraphBuilder()
      let x = builder.addInput("x", TensorType([4]))
      let shape = builder.addInput("shape", TensorType(.int64, [Dimension.fixed(2)]))
      builder.addOutput(
        "y", builder.add(.deferred(.reshape(allowsZero: false)), x, shape))
      _ = try builder.finish()
    }
  }
}
