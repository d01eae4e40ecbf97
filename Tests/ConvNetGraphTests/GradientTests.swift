import ConvNetGraph
import Testing

/// The structure of gradient graphs; their values are tested with the reference.
@Suite struct GradientTests {
  private func network(_ describe: (Graph.Value) -> Graph.Value) throws -> Graph {
    let graph = try Graph(inputs: [("input", .image(height: 6, width: 6, channels: 2))]) { values in
      let y = describe(values[0])
      return ["y": y, "loss": y.reduced(.sum, axes: Array(0..<y.type.rank))]
    }
    return try ResolveMode(.training).apply(to: graph)
  }

  private func count(_ graph: Graph, _ name: String) -> Int {
    graph.nodes.count { $0.operation.name == name }
  }

  @Test func keepsOutputsAndAddsGradients() throws {
    let graph = try network {
      $0.convolution(3, kernel: 3, name: "c").batchNormalization(name: "n").relu()
    }
    let gradient = try graph.gradient(of: "loss")
    #expect(
      gradient.outputs.map(\.name) == [
        "y", "loss", "gradient/c.weight", "gradient/c.bias", "gradient/n.weight", "gradient/n.bias",
      ])
    for parameter in gradient.parameterViews {
      let output = gradient.outputViews.first { $0.name == "gradient/\(parameter.name)" }
      #expect(output?.type == parameter.type)
    }
    #expect(Array(gradient.nodes.prefix(graph.nodes.count)) == graph.nodes)
  }

  @Test func computesNothingForTheInput() throws {
    let gradient = try network { $0.convolution(3, kernel: 3).relu().convolution(2, kernel: 3) }
      .gradient(of: "loss")
    #expect(count(gradient, "convolutionFilterGradient") == 2)
    #expect(count(gradient, "convolutionInputGradient") == 1)
    let withInput = try network { $0.convolution(3, kernel: 3) }
      .gradient(of: "loss", withRespectTo: ["input"])
    #expect(count(withInput, "convolutionInputGradient") == 1)
    #expect(count(withInput, "convolutionFilterGradient") == 0)
  }

  @Test func leavesFrozenParametersOut() throws {
    var graph = try network {
      $0.convolution(3, kernel: 3, name: "a").convolution(2, kernel: 3, name: "b")
    }
    for index in 0...1 { graph.parameters[index].isTrainable = false }
    let gradient = try graph.gradient(of: "loss")
    #expect(gradient.outputs.map(\.name) == ["y", "loss", "gradient/b.weight", "gradient/b.bias"])
    #expect(count(gradient, "convolutionInputGradient") == 0)
  }

  @Test func sumsWhatComesFromSeveralReaders() throws {
    let gradient = try network { x in
      let y = x.convolution(2, kernel: 1, name: "c")
      return y + y.map(.tanh) + y.map(.exp)
    }.gradient(of: "loss")
    // Two sums of the network, two of three contributions to y.
    #expect(count(gradient, "add") == 4)
  }

  @Test func givesZeroWhereTheLossDoesNotReach() throws {
    let graph = try Graph(inputs: [("x", .features(2))]) { values in
      [
        "unused": values[0].dense(3, name: "far"),
        "loss": values[0].dense(1, name: "near").reduced(.sum, axes: [0, 1]),
      ]
    }
    let gradient = try graph.gradient(of: "loss")
    let output = try #require(gradient.outputs.first { $0.name == "gradient/far.weight" })
    let node = try #require(gradient.nodes.first { $0.outputs == [output.value] })
    #expect(node.operation == .fill(0))
  }

  @Test func namesNodesAfterTheirLayers() throws {
    let gradient = try network { $0.convolution(3, kernel: 3, name: "c") }.gradient(of: "loss")
    #expect(gradient.nodes.contains { $0.name == "c.convolutionFilterGradient" })
    #expect(Set(gradient.nodes.map(\.name)).count == gradient.nodes.count)
  }

  @Test func omitsSumsThatNobodyNeeds() throws {
    // Running statistics, γ and β frozen: dx needs no sums.
    var graph = try network {
      $0.convolution(3, kernel: 3, name: "c").batchNormalization(name: "n")
    }
    graph = try ResolveMode(.inference).apply(to: graph)
    for index in graph.parameters.indices where graph.parameters[index].name.hasPrefix("n.") {
      graph.parameters[index].isTrainable = false
    }
    let gradient = try graph.gradient(of: "loss")
    #expect(count(gradient, "normalizeGradientSums") == 0)
    #expect(count(gradient, "normalizeGradientInput") == 1)
    // With batch statistics dx goes through them.
    let training = try network {
      $0.convolution(3, kernel: 3).batchNormalization(scale: false, shift: false)
    }
    #expect(try count(training.gradient(of: "loss"), "normalizeGradientSums") == 1)
  }

  @Test func refusesWhatHasNoGradient() throws {
    func expectRefusal(
      _ graph: Graph, _ output: String = "loss", names: [String]? = nil,
      sourceLocation: SourceLocation = #_sourceLocation
    ) -> GraphError? {
      #expect(throws: GraphError.self, sourceLocation: sourceLocation) {
        try graph.gradient(
          of: output, withRespectTo: names ?? graph.parameters.map(\.name))
      }
    }
    let plain = try network {
      $0.convolution(3, kernel: 3, name: "c").batchNormalization(name: "n")
    }
    #expect(expectRefusal(plain, "lost")?.place == "lost")
    #expect(expectRefusal(plain, names: ["lost"])?.code == .noGradient)
    #expect(expectRefusal(plain, names: ["n.running_mean"])?.code == .noGradient)
    // Moments that the loss reads otherwise than through their normalisation.
    let builder = GraphBuilder(plain)
    let moments = try #require(plain.nodes.first { $0.operation.name == "batchMoments" })
    let mean = builder.add(.cast(.float32), moments.outputs[1])
    builder.addOutput("mean", builder.add(.reduce(Reduce(.sum, axes: [0])), mean))
    let error = try expectRefusal(builder.finish(), "mean")
    #expect(error?.place == "n.moments")
    #expect(error?.code == .noGradient)
  }

  @Test func refusesFusedNodes() throws {
    let builder = GraphBuilder()
    let x = builder.addInput("x", TensorType([2]))
    let w = builder.addParameter("w", [2], role: .bias)
    let fused = Fused(
      anchor: .combine(.add), anchorInputCount: 2, epilogue: [.map(.relu)])
    builder.addOutput("y", builder.add(.fused(fused), x, w))
    let error = #expect(throws: GraphError.self) { try builder.finish().gradient(of: "y") }
    #expect(error?.reason == "the gradient is taken on the unfused graph only")
  }
}
