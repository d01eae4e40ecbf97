import ConvNetGraph
import Testing

/// Which types operations make, and which operands they refuse.
@Suite struct OperationTypeTests {
  private func type(_ operation: Operation, _ operands: TensorType...) throws -> TensorType {
    try operation.outputTypes(operands)[0]
  }

  private func expectRefusal(
    _ operation: Operation, _ operands: TensorType..., code: GraphError.Code = .invalidShape,
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    let error = #expect(throws: GraphError.self, sourceLocation: sourceLocation) {
      try operation.outputTypes(operands)
    }
    #expect(error?.code == code, sourceLocation: sourceLocation)
  }

  @Test func infersConvolutions() throws {
    let same = Operation.convolution(Convolution(window: Window(kernel: [3, 3], padding: .same)))
    let x = TensorType(["N", 28, 28, 4])
    let w = TensorType([3, 3, 4, 8])
    #expect(try type(same, x, w) == TensorType(["N", 28, 28, 8]))
    #expect(try type(same, x, w, TensorType([8])) == TensorType(["N", 28, 28, 8]))
    // An open image keeps the arithmetic as its name, the same for the same geometry.
    let open = try type(same, TensorType(["N", "H", 28, 4]), w)
    #expect(open.dimensions[1].extent == nil)
    #expect(try type(same, TensorType(["N", "H", 28, 4]), w) == open)
    expectRefusal(same, x, TensorType([3, 3, 2, 8]))
    expectRefusal(same, x, TensorType([3, 2, 4, 8]))
    expectRefusal(same, x, TensorType([3, 3, 4, "K"]))
    expectRefusal(same, TensorType(["N", 28, 28, "C"]), w)
    expectRefusal(same, TensorType(["N", 28, 4]), w)
    expectRefusal(same, x, w, TensorType([4]))
    expectRefusal(same, TensorType(.float64, x.dimensions), w, code: .invalidElementType)
    expectRefusal(same, x, code: .malformedGraph)
    let grouped = Operation.convolution(
      Convolution(window: Window(kernel: [1, 1], padding: .valid), groups: 3))
    expectRefusal(grouped, x, TensorType([1, 1, 1, 3]))
    expectRefusal(grouped, TensorType([1, 2, 2, 3]), TensorType([1, 1, 1, 4]))
  }

  @Test func infersTransposedConvolutions() throws {
    let window = Window(kernel: [3, 2], stride: [2, 3], padding: .explicit(1))
    let transposed = Operation.transposedConvolution(
      TransposedConvolution(Convolution(window: window), outputPadding: [1, 2]))
    let (x, w) = (TensorType(["N", 4, 5, 6]), TensorType([3, 2, 7, 6]))
    #expect(try type(transposed, x, w, TensorType([7])) == TensorType(["N", 8, 14, 7]))
    expectRefusal(transposed, x, TensorType([3, 2, 7, 5]))
    expectRefusal(transposed, x, w, TensorType([6]))
    var same = window
    same.padding = .same
    expectRefusal(
      .transposedConvolution(TransposedConvolution(Convolution(window: same))), x, w,
      code: .invalidAttribute)
    // Numbers of a file whose sum would overflow.
    expectRefusal(transposed, TensorType([1, .fixed(1 << 50), 1, 6]), w)
    expectRefusal(
      .transposedConvolution(
        TransposedConvolution(Convolution(window: window), outputPadding: [.max, 0])), x, w)
    // As much output padding as stride would be another extent's convolution.
    expectRefusal(
      .transposedConvolution(
        TransposedConvolution(Convolution(window: window), outputPadding: [2, 0])), x, w)
  }

  @Test func infersProductsOfManyMatrices() throws {
    let product = Operation.matrixMultiply(MatrixMultiply(transposesRight: true))
    #expect(
      try type(product, TensorType(["N", 8, 5, 4]), TensorType([8, 3, 4]))
        == TensorType(["N", 8, 5, 3]))
    #expect(
      try type(product, TensorType(["N", "L", 4]), TensorType([3, 4]), TensorType([3]))
        == TensorType(["N", "L", 3]))
    expectRefusal(product, TensorType([2, 5, 4]), TensorType([3, 3, 4]))
    expectRefusal(product, TensorType([4]), TensorType([3, 4]))
  }

  @Test func infersGradientsOfConvolutions() throws {
    let convolution = Convolution(window: Window(kernel: [3, 3], stride: [2, 2], padding: .same))
    let (x, w) = (TensorType(["N", 7, 8, 2]), TensorType([3, 3, 2, 5]))
    let y = TensorType(["N", 4, 4, 5])
    #expect(try type(.convolutionInputGradient(convolution), y, w, x) == x)
    #expect(try type(.convolutionFilterGradient(convolution), y, x, w) == w)
    expectRefusal(.convolutionInputGradient(convolution), x, w, x)
    expectRefusal(.convolutionFilterGradient(convolution), TensorType(["N", 3, 4, 5]), x, w)
  }

  @Test(
    arguments: [
      ([2, 3], [2, 3], [2, 3]), ([2, 3], [3], [2, 3]), ([1], [4, 5], [4, 5]),
      ([2, 1, 3], [4, 1], [2, 4, 3]), ([], [7], [7]), ([0, 3], [1, 3], [0, 3]),
      (["N", 3], [3], ["N", 3]), (["N", 1], ["N", 4], ["N", 4]),
    ] as [([Dimension], [Dimension], [Dimension])])
  func broadcasts(_ a: [Dimension], _ b: [Dimension], _ y: [Dimension]) throws {
    #expect(try type(.combine(.add), TensorType(a), TensorType(b)) == TensorType(y))
    #expect(try type(.combine(.add), TensorType(b), TensorType(a)) == TensorType(y))
  }

  @Test func refusesToBroadcastOtherShapes() {
    expectRefusal(.combine(.add), TensorType([2, 3]), TensorType([2]))
    expectRefusal(.combine(.add), TensorType(["N"]), TensorType(["M"]))
    expectRefusal(.combine(.add), TensorType(["N"]), TensorType([2]))
    expectRefusal(
      .combine(.add), TensorType([2]), TensorType(.float64, [2] as Shape),
      code: .invalidElementType)
    for function in [BinaryFunction.equal, .greater, .derivative(.relu)] {
      expectRefusal(
        .combine(function), TensorType(.int64, [2] as Shape), TensorType(.int64, [2] as Shape),
        code: .invalidElementType)
    }
    expectRefusal(
      .combine(.add), TensorType(.bool, [2] as Shape), TensorType(.bool, [2] as Shape),
      code: .invalidElementType)
    expectRefusal(.map(.floor), TensorType(.int64, [2] as Shape), code: .invalidElementType)
  }

  @Test func infersTypesOfChoices() throws {
    let (x, flag) = (TensorType(["N", 3]), TensorType(.bool, [1] as Shape))
    #expect(try type(.compare(.less), x, TensorType([3])) == TensorType(.bool, ["N", 3]))
    #expect(try type(.compare(.or), flag, flag) == flag)
    #expect(try type(.select, flag, x, TensorType([1])) == x)
    expectRefusal(.compare(.and), x, x, code: .invalidElementType)
    expectRefusal(.compare(.less), x, flag, code: .invalidElementType)
    expectRefusal(.select, x, x, x, code: .invalidElementType)
    expectRefusal(.select, flag, x, flag, code: .invalidElementType)
    #expect(try type(.broadcast(Broadcast([2, 1, 1])), x) == TensorType([2, "N", 3]))
    expectRefusal(.broadcast(Broadcast([2])), x)
    expectRefusal(.broadcast(Broadcast([-1])), x, code: .invalidAttribute)
    expectRefusal(
      .constant(Constant(integers: [1], shape: [2])), code: .invalidAttribute)
  }

  @Test func infersPartsAndPadding() throws {
    let x = TensorType(["N", 3, 4])
    let indices = TensorType(.int32, [2, 5] as Shape)
    #expect(try type(.gather(Gather(axis: 1)), x, indices) == TensorType(["N", 2, 5, 4]))
    expectRefusal(.gather(Gather(axis: 1)), x, x, code: .invalidElementType)
    expectRefusal(.gatherGradient(Gather(axis: 1)), x, indices, x)
    let pad = Pad(before: [0, 2, 0], after: [1, 2, 0], mode: .reflect)
    #expect(try type(.pad(pad), x) == TensorType([.symbol("N+1"), 7, 4]))
    expectRefusal(.pad(Pad(before: [0, 3, 0], after: [0, 0, 0], mode: .reflect)), x)
    expectRefusal(.pad(Pad(before: [0], after: [0])), x, code: .invalidAttribute)
    expectRefusal(
      .pad(Pad(before: [0, .max, 0], after: [0, 0, 0])), x, code: .invalidAttribute)
  }

  @Test func infersReductions() throws {
    let x = TensorType(["N", 3, 4])
    #expect(try type(.reduce(Reduce(.mean, axes: [1, 2])), x) == TensorType(["N"]))
    #expect(
      try type(.reduce(Reduce(.sum, axes: [-1], keepsAxes: true)), x) == TensorType(["N", 3, 1]))
    #expect(try type(.expand(Reduce(.sum, axes: [-1])), TensorType(["N", 3]), x) == x)
    expectRefusal(.reduce(Reduce(.sum, axes: [3])), x, code: .invalidAttribute)
    expectRefusal(.reduce(Reduce(.sum, axes: [.min])), x, code: .invalidAttribute)
    expectRefusal(.reduce(Reduce(.sum, axes: [2, -1])), x, code: .invalidAttribute)
    expectRefusal(.reduce(Reduce(.maximum, axes: [0])), TensorType([0, 2]))
    expectRefusal(.expand(Reduce(.sum, axes: [0])), TensorType([4]), x)
    expectRefusal(
      .expand(Reduce(.maximum, axes: [0])), TensorType([4]), x, code: .invalidAttribute)
  }

  @Test func infersReshapes() throws {
    let x = TensorType(["N", 4, 6])
    #expect(try type(.reshape(Reshape([.copy(0), .rest])), x) == TensorType(["N", 24]))
    #expect(
      try type(.reshape(Reshape([.copy(0), .fixed(3), .fixed(8)])), x) == TensorType(["N", 3, 8]))
    #expect(
      try type(.reshape(Reshape([.copy(0), .rest])), TensorType([0, 4, 6]))
        == TensorType([0, 24]))
    expectRefusal(.reshape(Reshape([.copy(0), .fixed(5), .rest])), x)
    expectRefusal(.reshape(Reshape([.fixed(24)])), x)
    expectRefusal(.reshape(Reshape([.rest, .rest])), x, code: .invalidAttribute)
    expectRefusal(.reshape(Reshape([.fixed(-1), .rest])), x, code: .invalidAttribute)
    expectRefusal(.reshape(Reshape([.copy(1), .copy(1), .rest])), x)
    expectRefusal(.reshape(Reshape([.fixed(0), .rest])), x)
    expectRefusal(
      .reshape(Reshape([.fixed(1 << 62), .fixed(1 << 62), .rest])), TensorType([4, 6]))
    expectRefusal(.reshapeLike, TensorType([4]), TensorType([5]))
  }

  @Test func infersOtherShapes() throws {
    let x = TensorType(["N", 4, 6])
    #expect(try type(.transpose(Transpose([2, 0, 1])), x) == TensorType([6, "N", 4]))
    #expect(Transpose([2, 0, 1]).inverse == Transpose([1, 2, 0]))
    expectRefusal(.transpose(Transpose([0, 0, 1])), x, code: .invalidAttribute)
    #expect(try type(.slice(Slice(axis: -1, start: 2, end: 5)), x) == TensorType(["N", 4, 3]))
    expectRefusal(.slice(Slice(axis: 2, start: 2, end: 7)), x)
    expectRefusal(.slice(Slice(axis: 2, start: 3, end: 2)), x, code: .invalidAttribute)
    expectRefusal(.slice(Slice(axis: 2, start: .min, end: .max)), x, code: .invalidAttribute)
    let backwards = Slice(axis: 2, start: 5, end: -1, step: -2)
    #expect(try type(.slice(backwards), x) == TensorType(["N", 4, 3]))
    expectRefusal(.slice(Slice(axis: 2, start: 6, end: 0, step: -1)), x)
    for (start, end, step) in [(0, 3, 0), (0, 3, -1), (3, 0, 1), (3, -2, -1), (.max, -1, -1)] {
      expectRefusal(
        .slice(Slice(axis: 0, start: start, end: end, step: step)), x, code: .invalidAttribute)
    }
    #expect(Slice(axis: 0, start: .max - 1, end: -1, step: .min).count == 1)
    #expect(try type(.concatenate(Concatenate(axis: 2)), x, x) == TensorType(["N", 4, 12]))
    expectRefusal(.concatenate(Concatenate(axis: 1)), x, TensorType(["N", 4, 5]))
    expectRefusal(.concatenate(Concatenate(axis: 0)), code: .malformedGraph)
    let transposed = MatrixMultiply(transposesLeft: true, transposesRight: true)
    #expect(
      try type(.matrixMultiply(transposed), TensorType([3, "N"]), TensorType([5, 3]))
        == TensorType(["N", 5]))
    expectRefusal(.matrixMultiply(transposed), TensorType([3, "N"]), TensorType([3, 5]))
  }

  @Test func checksNormalisation() throws {
    let x = TensorType(["N", 3])
    let moments = try Operation.batchMoments(BatchMoments(axis: 1)).outputTypes([x])
    #expect(moments.map(\.description) == ["float64 []", "float64 [3]", "float64 [3]"])
    let normalize = Normalize(
      axis: 1, epsilon: 1e-5, source: .batch, hasScale: true, hasShift: false)
    #expect(
      try Operation.normalize(normalize).outputTypes([x] + moments + [TensorType([3])]) == [x])
    #expect(throws: GraphError.self) {
      try Operation.normalize(normalize).outputTypes([x] + moments + [TensorType([2])])
    }
    var negative = normalize
    negative.epsilon = -1
    #expect(throws: GraphError.self) {
      try Operation.normalize(negative).outputTypes([x] + moments + [TensorType([3])])
    }
    expectRefusal(.batchMoments(BatchMoments(axis: 2)), x, code: .invalidAttribute)
  }

  @Test func checksLossesAndDropout() throws {
    let labels = TensorType(.int64, ["N"])
    let loss = Operation.softmaxCrossEntropy(SoftmaxCrossEntropy())
    #expect(try type(loss, TensorType(["N", 5]), labels) == TensorType(["N"]))
    expectRefusal(loss, TensorType(["N", 5]), TensorType(["N"]))
    expectRefusal(
      .softmaxCrossEntropy(SoftmaxCrossEntropy(labelSmoothing: 1)), TensorType(["N", 5]), labels,
      code: .invalidAttribute)
    let key = TensorType(.int64, [2] as Shape)
    for rate in [-0.1, 1, .nan] {
      expectRefusal(
        .dropout(Dropout(rate: rate, stream: 0)), TensorType([2]), key, code: .invalidAttribute)
    }
    expectRefusal(.dropout(Dropout(rate: 0.5, stream: 0)), TensorType([2]), TensorType([2]))
    expectRefusal(
      .dropout(Dropout(rate: 0.5, stream: 65_536)), TensorType([2]), key, code: .invalidAttribute)
    #expect(Dropout(rate: 0.25, stream: 0).threshold == 1 << 30)
  }

  @Test func checksFusedNodes() throws {
    let x = TensorType(["N", 3])
    func fused(_ anchor: Operation, _ steps: [Fused.Step]) -> Operation {
      .fused(Fused(anchor: anchor, anchorInputCount: 1, epilogue: steps))
    }
    #expect(try type(fused(.map(.exp), [.combine(.add), .map(.relu)]), x, TensorType([3])) == x)
    expectRefusal(fused(.map(.exp), [.combine(.add)]), x, code: .malformedGraph)
    expectRefusal(fused(.map(.exp), []), x, x, code: .malformedGraph)
    expectRefusal(fused(fused(.map(.exp), []), []), x, code: .malformedGraph)
    expectRefusal(fused(.softmax, [.combine(.add)]), x, TensorType([2, "N", 3]))
  }
}
