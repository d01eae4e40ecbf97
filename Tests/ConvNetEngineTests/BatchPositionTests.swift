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
      let graph = try Graph(input: .image(height: 9, width: 11, channels: 3)) {
        $0.convolution(20, kernel: 3).relu().convolution(40, kernel: 3)
          .depthwiseConvolution(kernel: 3).convolution(70, kernel: 5, stride: 2).relu()
          .convolution(70, kernel: 1).convolution(330, kernel: 3)
      }
      try BatchPositionTests.check(graph, size: [9, 11, 3])
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
