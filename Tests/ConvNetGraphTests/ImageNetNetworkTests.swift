import ConvNetGraph
import Testing

/// The built-in networks for ImageNet: names, numbers of parameters, shapes and work.
@Suite struct ImageNetNetworkTests {
  /// What is known of a network: parameters and 10⁹ multiply-adds for an image of 224, as PyTorch
  /// documents them for its own checkpoints.
  struct Case: CustomTestStringConvertible, Sendable {
    let network: Network
    let parameters: Int
    let gigaMultiplyAdds: Double
    var testDescription: String { network.rawValue }
  }

  static let cases = [
    Case(network: .resnet18, parameters: 11_689_512, gigaMultiplyAdds: 1.814),
    Case(network: .resnet34, parameters: 21_797_672, gigaMultiplyAdds: 3.664),
    Case(network: .resnet50, parameters: 25_557_032, gigaMultiplyAdds: 4.089),
    Case(network: .vgg16BatchNorm, parameters: 138_365_992, gigaMultiplyAdds: 15.470),
    Case(network: .mobilenetV2, parameters: 3_504_872, gigaMultiplyAdds: 0.301),
    Case(network: .densenet121, parameters: 7_978_856, gigaMultiplyAdds: 2.834),
  ]

  @Test(arguments: cases) func countsAreThePapers(_ c: Case) throws {
    let graph = try c.network.graph()
    #expect(graph.trainableCount == c.parameters)
    #expect(graph.outputViews[0].type == TensorType(["N", 1000]))
    let inference = try ResolveMode(.inference).apply(to: graph)
    let work = try inference.resolved(inputShapes: ["input": [1, 224, 224, 3]]).multiplyAddCount
    #expect(abs(Double(work) / 1e9 - c.gigaMultiplyAdds) <= 0.0005)
    let twice = try inference.resolved(inputShapes: ["input": [2, 224, 224, 3]]).multiplyAddCount
    #expect(twice == 2 * work)
  }

  /// Images of 32, and those of Fashion-MNIST; maps are halved five times.
  @Test(arguments: cases, [(32, 3), (28, 1)])
  func smallImagesFit(_ c: Case, image: (size: Int, channels: Int)) throws {
    for normalized in [true, false] {
      let graph = try c.network.graph(
        classes: 7, batchNormalization: normalized, size: image.size, channels: image.channels)
      try graph.verify()
      #expect(graph.outputViews[0].type == TensorType(["N", 7]))
    }
  }

  @Test(arguments: cases) func namesAreThoseOfPyTorch(_ c: Case) throws {
    let graph = try c.network.graph()
    let expected = Names(c.network)
    #expect(graph.parameters.map(\.name).sorted() == expected.parameters.sorted())
    #expect(graph.states.map(\.name).sorted() == expected.states.sorted())
  }

  /// One seed gives the same filters, because values are a function of the name and the shape; biases
  /// take the place of batch norm.
  @Test(arguments: cases) func filtersKeepTheirNamesWithoutBatchNorm(_ c: Case) throws {
    func filters(_ graph: Graph) -> [String] {
      graph.parameterViews.filter(\.role.decaysByDefault).map { "\($0.name) \($0.type)" }
    }
    let (with, without) = (
      try c.network.graph(), try c.network.graph(batchNormalization: false)
    )
    #expect(filters(with) == filters(without))
    #expect(without.states.isEmpty)
    #expect(without.parameters.count { $0.role == .bias } == filters(without).count)
    #expect(!without.parameters.contains { $0.role == .normalizationScale })
  }

  @Test func shapesOfWellKnownParameters() throws {
    func shape(_ network: Network, _ name: String, size: Int = 224) throws -> Shape? {
      try network.graph(size: size).parameterViews.first { $0.name == name }?.type.shape
    }
    #expect(try shape(.resnet18, "conv1.weight") == [7, 7, 3, 64])
    #expect(try shape(.resnet50, "layer2.0.conv2.weight") == [3, 3, 128, 128])
    #expect(try shape(.resnet50, "layer4.0.downsample.0.weight") == [1, 1, 1024, 2048])
    #expect(try shape(.vgg16BatchNorm, "classifier.0.weight") == [7 * 7 * 512, 4096])
    #expect(try shape(.vgg16BatchNorm, "classifier.0.weight", size: 32) == [512, 4096])
    #expect(try shape(.mobilenetV2, "features.1.conv.0.0.weight") == [3, 3, 1, 32])
    #expect(
      try shape(.densenet121, "features.denseblock4.denselayer16.conv1.weight")
        == [1, 1, 992, 128])
  }

  /// Strides pad evenly at both ends, which `.same` does not; version 1.5 strides in the 3 × 3.
  @Test func stridesPadAtBothEnds() throws {
    for c in Self.cases {
      for node in try c.network.graph().nodes {
        guard case .convolution(let convolution) = node.operation else { continue }
        let half = convolution.window.kernel[0] / 2
        #expect(convolution.window.padding == .explicit(half), "\(node.name)")
        let first = c.network == .resnet50 && node.name.hasSuffix(".conv1")
        #expect(!first || convolution.window.stride == [1, 1], "\(node.name)")
      }
    }
  }

  @Test func dropoutIsWhereTheOriginalsHaveIt() throws {
    func rates(_ network: Network) throws -> [Double] {
      try network.graph().nodes.compactMap {
        if case .dropout(let dropout) = $0.operation { dropout.rate } else { nil }
      }
    }
    #expect(try rates(.vgg16BatchNorm) == [0.5, 0.5])
    #expect(try rates(.mobilenetV2) == [0.2])
    #expect(try rates(.resnet50).isEmpty)
    #expect(try rates(.densenet121).isEmpty)
  }
}

/// Names of a checkpoint, from the structure of the network alone.
private struct Names {
  var parameters: [String] = []
  var states: [String] = []

  init(_ network: Network) {
    switch network {
    case .resnet18: resnet([2, 2, 2, 2], convolutions: 2)
    case .resnet34: resnet([3, 4, 6, 3], convolutions: 2)
    case .resnet50: resnet([3, 4, 6, 3], convolutions: 3)
    case .vgg16BatchNorm: vgg()
    case .mobilenetV2: mobilenet()
    case .densenet121: densenet()
    case .lenet, .fashion, .fashionResNet: break
    }
  }

  private mutating func convolution(_ name: String, bias: Bool = false) {
    parameters += ["\(name).weight"] + (bias ? ["\(name).bias"] : [])
  }

  private mutating func normalization(_ name: String) {
    convolution(name, bias: true)
    states += ["running_mean", "running_var", "num_batches_tracked"].map { "\(name).\($0)" }
  }

  private mutating func resnet(_ blocks: [Int], convolutions: Int) {
    convolution("conv1")
    normalization("bn1")
    for (stage, count) in blocks.enumerated() {
      for block in 0..<count {
        let prefix = "layer\(stage + 1).\(block)"
        for index in 1...convolutions {
          convolution("\(prefix).conv\(index)")
          normalization("\(prefix).bn\(index)")
        }
        // A bottleneck widens in its first stage, too.
        guard block == 0, stage > 0 || convolutions == 3 else { continue }
        convolution("\(prefix).downsample.0")
        normalization("\(prefix).downsample.1")
      }
    }
    convolution("fc", bias: true)
  }

  private mutating func vgg() {
    for index in [0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40] {
      convolution("features.\(index)", bias: true)
      normalization("features.\(index + 1)")
    }
    for index in [0, 3, 6] { convolution("classifier.\(index)", bias: true) }
  }

  private mutating func mobilenet() {
    for index in 0...18 {
      // The first block does not expand: one convolution less.
      let units =
        index == 0 || index == 18 ? ["0"] : index == 1 ? ["conv.0"] : ["conv.0", "conv.1"]
      for unit in units {
        convolution("features.\(index).\(unit == "0" ? "" : "\(unit).")0")
        normalization("features.\(index).\(unit == "0" ? "" : "\(unit).")1")
      }
      guard 1...17 ~= index else { continue }
      convolution("features.\(index).conv.\(units.count)")
      normalization("features.\(index).conv.\(units.count + 1)")
    }
    convolution("classifier.1", bias: true)
  }

  private mutating func densenet() {
    convolution("features.conv0")
    normalization("features.norm0")
    for (stage, count) in [6, 12, 24, 16].enumerated() {
      for layer in 1...count {
        for index in 1...2 {
          normalization("features.denseblock\(stage + 1).denselayer\(layer).norm\(index)")
          convolution("features.denseblock\(stage + 1).denselayer\(layer).conv\(index)")
        }
      }
      guard stage < 3 else { continue }
      normalization("features.transition\(stage + 1).norm")
      convolution("features.transition\(stage + 1).conv")
    }
    normalization("features.norm5")
    convolution("classifier", bias: true)
  }
}
