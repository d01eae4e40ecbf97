import ConvNetEngine
import ConvNetGraph
import ConvNetTestSupport
import OpenBLAS
import Testing

/// One image gives the same bits alone and in any position of any batch, on any number of lanes.
///
/// It is promised for kernels with a path for small matrices, so these tests choose such kernels in a child
/// process; where the processor has none, there is nothing to check.
@Suite struct BatchPositionTests {
  @Test func convolutionsOfEveryStrategy() async {
    await #expect(processExitsWith: .success) {
      guard BLAS.bootstrap(kernel: .recommended).hasSmallMatrixKernel else { return }
      let graph = try Graph(input: .image(height: 9, width: 27, channels: 3)) {
        $0.convolution(20, kernel: 3).relu().convolution(40, kernel: 3, stride: 2)
          .convolution(70, kernel: 5).relu()
          .depthwiseConvolution(kernel: 3).convolution(70, kernel: 5, stride: 2).relu()
          .convolution(70, kernel: 1).convolution(330, kernel: 3)
      }
      try BatchPositionTests.check(graph, size: [9, 27, 3])
    }
  }

  /// Tiles of every shape, fewer and more than a block of them, and filters that are cut along K.
  @Test func winogradTiles() async {
    await #expect(processExitsWith: .success) {
      guard BLAS.bootstrap(kernel: .recommended).hasSmallMatrixKernel else { return }
      for (height, width, channels) in [(30, 17, 16), (4, 2, 20), (2, 7, 20), (7, 7, 400)] {
        let graph = try Graph(input: .image(height: height, width: width, channels: channels)) {
          $0.convolution(400, kernel: 3).relu().globalAveragePooling()
        }
        try BatchPositionTests.check(graph, size: [height, width, channels])
      }
    }
  }

  @Test func denseLayers() async {
    await #expect(processExitsWith: .success) {
      guard BLAS.bootstrap(kernel: .recommended).hasSmallMatrixKernel else { return }
      let graph = try Graph(input: TensorType(.float32, ["N", 1000])) {
        $0.dense(130).relu().dense(1003)
      }
      try BatchPositionTests.check(graph, size: [1000])
    }
  }

  /// A row has the same bits whatever the number of rows, so that it does not matter which of OpenBLAS's
  /// kernels or of our loops computes it, for every kind of last panel and a sum in two parts.
  @Test func rowsOfDenseLayers() async {
    await #expect(processExitsWith: .success) {
      guard BLAS.bootstrap(kernel: .recommended).hasSmallMatrixKernel else { return }
      try BatchPositionTests.checkRows()
    }
  }

  private static func checkRows() throws {
    let (most, depth) = (100, 330)
    let rows = TestData.uniform([most, depth], seed: 6)
    for columns in [1, 2, 4, 5, 8, 10, 17, 24, 39, 40, 48, 64, 71, 130] {
      let graph = try Graph(input: .features(depth)) { $0.dense(columns) }
      let model = try randomModel(graph, seed: 5)
      let alone = try (0..<most).flatMap { row in
        let one = Array(rows.floats[(row * depth)...].prefix(depth))
        return try run(model, Tensor(one, shape: [1, depth]), lanes: TestLanes.all[0]).floats
      }
      for count in [2, 3, 7, 12, 16, 17, 48, 49, 60, 61, 96, 100] {
        let part = Tensor(Array(rows.floats.prefix(count * depth)), shape: [count, depth])
        let together = try run(model, part, lanes: TestLanes.all[1]).floats
        guard together == Array(alone.prefix(count * columns)) else {
          fatalError("One of \(count) rows of \(columns) columns has other bits than alone.")
        }
      }
    }
  }

  private static func check(_ graph: Graph, size: Shape) throws {
    let model = try randomModel(graph, seed: 3)
    for count in [5, 14] {
      let images = TestData.uniform(Shape([count] + size.dimensions), seed: 4)
      let all = try run(model, images, lanes: TestLanes.all[1]).floats
      for image in 0..<count {
        let one = Tensor(
          Array(images.floats[(image * size.count)..<((image + 1) * size.count)]),
          shape: Shape([1] + size.dimensions))
        let alone = try run(model, one, lanes: TestLanes.all[image % 3]).floats
        guard Array(all[(image * alone.count)..<((image + 1) * alone.count)]) == alone else {
          fatalError("Image \(image) of \(count), \(size), has other bits than alone.")
        }
      }
    }
  }

  private static func run(_ model: Model, _ input: Tensor, lanes: Lanes) throws -> Tensor {
    let plan = try Plan(
      model, mode: .inference, inputShapes: ["input": input.shape], lanes: lanes)
    var workspace = plan.makeWorkspace(for: ParameterStore(model))
    try workspace.setInput("input", to: input)
    plan.run(in: &workspace)
    return try workspace.output("output")
  }
}
