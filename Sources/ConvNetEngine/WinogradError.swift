import CConvNetLoops
public import ConvNetGraph

/// How far a convolution by Winograd's minimal filtering is from the sum that defines it.
///
/// The transforms add and subtract numbers of unlike size, which costs a few of float32's bits, the more
/// the larger the tile; at most some 10⁻⁵ of a layer's largest result. `PlanOptions.allowsWinograd`
/// turns it off.
///
///     for error in try WinogradError.measure(model, inputs: ["input": image]) { print(error) }
public struct WinogradError: Hashable, Sendable, CustomStringConvertible {
  /// The convolution.
  public let layer: String
  /// The tiles, such as F(4×4,3×3).
  public let tiles: String
  /// The largest |engine − definition| of the results that were compared; infinite where one is not finite.
  public let difference: Double
  /// The largest magnitude of all the layer's results.
  public let largest: Double

  /// The largest difference in units of the largest result; 0 where both are 0.
  public var relative: Double { difference == 0 ? 0 : difference / largest }

  /// One line.
  public var description: String {
    "\(layer) \(tiles): \(difference), \(relative) of the largest result \(largest)"
  }

  /// Runs a model in inference mode and compares what its Winograd layers compute with sums in Double.
  ///
  /// Every layer reads what the engine computed before it. All of a layer's results would take as long as
  /// the naive reference; compared are some 64 pixels of each image and 64 filters, evenly spread.
  ///
  /// - Parameters:
  ///   - model: a model, its batch norm folded or not.
  ///   - inputs: all inputs by name.
  ///   - lanes: the threads that compute.
  ///   - options: strategies to force.
  /// - Returns: one error for each convolution that would run by this strategy, in their order.
  /// - Throws: `GraphError` or `PlanError` where the inputs do not fit.
  public static func measure(
    _ model: Model, inputs: [String: Tensor], lanes: Lanes = .shared,
    options: PlanOptions = PlanOptions()
  ) throws -> [WinogradError] {
    var graph = try RemoveUnused().apply(to: ResolveMode(.inference).apply(to: model.graph))
      .resolved(inputShapes: inputs.mapValues(\.shape))
    let layers = graph.nodes.compactMap { Layer($0, in: graph, model, options) }
    graph.outputs = layers.enumerated().flatMap { index, layer in
      [
        Graph.Port(name: "\(index)/input", value: layer.input),
        Graph.Port(name: "\(index)/output", value: layer.output),
      ]
    }
    guard !layers.isEmpty else { return [] }
    let plan = try Plan(graph, inputShapes: [:], lanes: lanes, options: options)
    var workspace = plan.makeWorkspace(for: ParameterStore(model))
    for (name, tensor) in inputs { try workspace.setInput(name, to: tensor) }
    plan.run(in: &workspace)
    return try layers.enumerated().map { index, layer in
      try layer.compare(
        input: workspace.output("\(index)/input"), output: workspace.output("\(index)/output"))
    }
  }

  /// One convolution with its numbers.
  private struct Layer {
    let name: String
    let tiles: WinogradTiles
    let input: Graph.ValueID
    let output: Graph.ValueID
    let filter: Tensor
    let bias: Tensor?

    init?(_ node: Graph.Node, in graph: Graph, _ model: Model, _ options: PlanOptions) {
      func parameter(_ index: Int) -> Tensor? {
        graph.parameters.first { $0.value == node.inputs[index] }
          .flatMap { model.parameters[$0.name] }
      }
      guard case .convolution(let convolution) = node.operation, let filter = parameter(1),
        let input = graph.type(of: node.inputs[0]).shape,
        let shape = try? ConvolutionShape(convolution, input: input, filter: filter.shape),
        ConvolutionStrategy.choose(shape, options: options) == .winograd
      else { return nil }
      let bias = node.inputs.count > 2 ? parameter(2) : nil
      if node.inputs.count > 2, bias == nil { return nil }
      name = node.name
      tiles = WinogradTiles(shape)
      (self.input, output) = (node.inputs[0], node.outputs[0])
      (self.filter, self.bias) = (filter, bias)
    }

    func compare(input: Tensor, output: Tensor) -> WinogradError {
      let shape = tiles.shape
      let (x, y, w) = (input.floats, output.floats, filter.floats)
      let bias = bias?.floats
      var row = [Float](repeating: 0, count: shape.depth)
      // Odd steps, so that pixels of every place in a tile are met.
      let pixelStep = max(shape.pixels / 64, 1) | 1
      let filterStep = max(shape.filters / 64, 1)
      var difference = 0.0
      for pixel in stride(from: 0, to: shape.images * shape.pixels, by: pixelStep) {
        row.withUnsafeMutableBufferPointer { row in
          x.withUnsafeBufferPointer { x in
            guard let row = row.baseAddress, let x = x.baseAddress else { return }
            gatherRows(
              row, rowStride: shape.depth, x: x, window: shape.window, firstChannel: 0,
              channelCount: shape.channels, rows: pixel..<(pixel + 1))
          }
        }
        for k in stride(from: 0, to: shape.filters, by: filterStep) {
          var sum = Double(bias?[k] ?? 0)
          for i in 0..<shape.depth { sum += Double(row[i]) * Double(w[i * shape.filters + k]) }
          let error = abs(sum - Double(y[pixel * shape.filters + k]))
          difference = max(difference, error.isNaN ? .infinity : error)
        }
      }
      return WinogradError(
        layer: name, tiles: tiles.name, difference: difference,
        largest: Double(y.reduce(0) { max($0, $1.magnitude) }))
    }
  }
}
