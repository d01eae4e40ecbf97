import ConvNetGraph
import ConvNetReference
import ConvNetTestSupport
import Testing

@Suite struct TransposedConvolutionTests {
  private func transposed(
    _ kernel: Int, stride: Int = 1, dilation: Int = 1, padding: Padding = .valid,
    outputPadding: Int = 0, groups: Int = 1
  ) -> TransposedConvolution {
    TransposedConvolution(
      Convolution(
        window: Window(
          kernel: [kernel], stride: [stride], dilation: [dilation], padding: padding),
        groups: groups),
      outputPadding: [outputPadding])
  }

  @Test func placesTheKernelAtEveryInput() throws {
    let x = ReferenceTensor([1, 2], shape: [1, 2, 1])
    let w = ReferenceTensor([1, 10, 100], shape: [3, 1, 1])
    func y(_ operation: TransposedConvolution, bias: ReferenceTensor? = nil) throws -> [Double] {
      let operation = Operation.transposedConvolution(operation)
      guard let bias else { return try evaluateInReference(operation, x, w)[0].values }
      return try evaluateInReference(operation, x, w, bias)[0].values
    }
    #expect(try y(transposed(3)) == [1, 12, 120, 200])
    #expect(try y(transposed(3, stride: 2)) == [1, 10, 102, 20, 200])
    #expect(try y(transposed(3, stride: 2, outputPadding: 1)) == [1, 10, 102, 20, 200, 0])
    let cut = Padding.explicit(before: [1], after: [2])
    #expect(try y(transposed(3, stride: 2, padding: cut)) == [10, 102])
    #expect(try y(transposed(3, dilation: 2)) == [1, 2, 10, 20, 100, 200])
    #expect(
      try y(transposed(3), bias: ReferenceTensor([5], shape: [1])) == [6, 17, 125, 205])
  }

  static let cases: [(TransposedConvolution, x: Shape, w: Shape)] = {
    func make(
      _ kernel: [Int], stride: [Int], dilation: [Int], before: [Int], after: [Int],
      outputPadding: [Int], groups: Int = 1
    ) -> TransposedConvolution {
      TransposedConvolution(
        Convolution(
          window: Window(
            kernel: kernel, stride: stride, dilation: dilation,
            padding: .explicit(before: before, after: after)),
          groups: groups),
        outputPadding: outputPadding)
    }
    return [
      (
        make(
          [3, 2], stride: [2, 3], dilation: [1, 2], before: [1, 0], after: [0, 2],
          outputPadding: [1, 2]), [2, 3, 2, 2], [3, 2, 3, 2]
      ),
      (
        make(
          [2, 3], stride: [1, 2], dilation: [1, 1], before: [0, 1], after: [0, 1],
          outputPadding: [0, 0], groups: 2), [1, 2, 3, 4], [2, 3, 3, 4]
      ),
      // Output padding beyond the stride, which only a dilation allows.
      (
        make(
          [2, 2], stride: [1, 2], dilation: [3, 4], before: [0, 1], after: [1, 3],
          outputPadding: [2, 3]), [1, 3, 2, 1], [2, 2, 2, 1]
      ),
      (
        make(
          [2, 1, 2], stride: [2, 1, 1], dilation: [1, 1, 1], before: [0, 0, 1], after: [1, 0, 0],
          outputPadding: [1, 0, 0]), [1, 2, 2, 2, 2], [2, 1, 2, 1, 2]
      ),
    ]
  }()

  @Test(arguments: cases) func hasAGradient(_ form: (TransposedConvolution, x: Shape, w: Shape))
    throws
  {
    let channels = form.w[form.w.rank - 2] * form.0.convolution.groups
    try checkGradient(
      of: .transposedConvolution(form.0),
      [
        TestData.doubles(form.x, seed: 1), TestData.doubles(form.w, seed: 2),
        TestData.doubles([channels], seed: 3),
      ])
  }

  /// Where the output padding stays below the stride, it is the gradient of its convolution's input.
  @Test(arguments: [0, 1, 3]) func isAnAdjoint(_ index: Int) throws {
    let (operation, xShape, wShape) = Self.cases[index]
    let x = TestData.doubles(xShape, seed: 4)
    let w = TestData.doubles(wShape, seed: 5)
    let y = try evaluateInReference(.transposedConvolution(operation), x, w)[0]
    let dx = try evaluateInReference(
      .convolutionInputGradient(operation.convolution), x, w, y)[0]
    expectClose(y.values, dx.values, tolerance: 1e-14)
  }
}
