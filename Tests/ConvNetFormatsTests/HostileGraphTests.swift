import ConvNetFormats
import ConvNetGraph
import Testing

/// Graphs out of files in which something was changed: refused with a `FileError` or read, never a
/// trap.
@Suite struct HostileGraphTests {
  /// The parts of a saved model.
  private struct Saved {
    var graph: String
    /// The header before and after the graph.
    var before: String, after: String
    var data: [UInt8]

    /// A graph as it stands in the header.
    static func escape(_ text: String) -> String {
      let bytes = text.utf8.flatMap { $0 == 0x22 || $0 == 0x5c ? [0x5c, $0] : [$0] }
      return String(decoding: bytes, as: UTF8.self)
    }
  }

  /// A saved model whose graph has a node of every kind that has attributes.
  private func everyKindOfNode(in folder: String) throws -> Saved {
    let builder = GraphBuilder()
    let x = builder.addInput("x", TensorType(.float32, [2, 6, 6, 4] as Shape))
    let w = builder.addParameter("w", [3, 3, 2, 4], role: .convolutionFilter)
    let scale = builder.addParameter("scale", [4], role: .normalizationScale)
    addConvolutions(to: builder, x, w)
    addNormalization(to: builder, x, scale)
    let pool = Window(kernel: [2, 2], stride: [2, 2], padding: .explicit(1))
    let mean = AveragePool(window: pool)
    let pooled = builder.add(.maxPool(pool), x)
    _ = builder.add(.maxPoolGradient(pool), pooled, x)
    _ = builder.add(.averagePoolGradient(mean), builder.add(.averagePool(mean), x), x)
    let sum = Reduce(.sum, axes: [1, -2], keepsAxes: true)
    _ = builder.add(.expand(sum), builder.add(.reduce(sum), x), x)
    let slice = Slice(axis: 3, start: 3, end: 0, step: -2)
    let part = builder.add(.slice(slice), x)
    _ = builder.add(.sliceGradient(slice), part, x)
    let joined = builder.add(.concatenate(Concatenate(axis: 1)), x, x)
    let flat = builder.add(.reshape(Reshape([.copy(0), .fixed(2), .rest])), joined)
    _ = builder.add(.reshapeLike, flat, joined)
    let rows = builder.add(.reshape(Reshape([.rest, .fixed(4)])), x)
    _ = builder.add(.matrixMultiply(MatrixMultiply(transposesLeft: true)), rows, rows)
    _ = builder.add(.transpose(Transpose([0, 3, 1, 2])), x)
    _ = builder.add(.cast(.int32), x)
    addSelections(to: builder, x)
    let key = builder.addInput("key", TensorType(.int64, [2] as Shape))
    _ = builder.add(.dropout(Dropout(rate: 0.25, stream: 3)), x, key)
    let labels = builder.addInput("labels", TensorType(.int64, [72] as Shape))
    let entropy = SoftmaxCrossEntropy(labelSmoothing: 0.1)
    let loss = builder.add(.softmaxCrossEntropy(entropy), rows, labels)
    _ = builder.add(.softmaxCrossEntropyGradient(entropy), loss, rows, labels)
    builder.addOutput("loss", loss)
    let graph = try builder.finish()
    try graph.verify()
    let parameters = ["w": Tensor(zeros: [3, 3, 2, 4]), "scale": Tensor(zeros: [4])]
    let model = try Model(
      graph: graph, parameters: parameters, state: Model.initialState(of: graph))
    try ModelFile.save(model, to: folder + "/all")
    let graphText = try #require(SafetensorsFile.open(folder + "/all").metadata["graph"])
    let all = try bytes(of: folder + "/all")
    let length = all[..<8].reversed().reduce(0) { $0 << 8 | Int($1) }
    let header = String(decoding: all[8..<(8 + length)], as: UTF8.self)
    let place = try #require(header.firstRange(of: Saved.escape(graphText)))
    return Saved(
      graph: graphText, before: String(header[..<place.lowerBound]),
      after: String(header[place.upperBound...]), data: Array(all[(8 + length)...]))
  }

  private func addConvolutions(
    to builder: GraphBuilder, _ x: Graph.ValueID, _ w: Graph.ValueID
  ) {
    let attributes = Convolution(
      window: Window(
        kernel: [3, 3], stride: [2, 1], dilation: [1, 2],
        padding: .explicit(top: 1, bottom: 0, left: 2, right: 2)), groups: 2)
    let y = builder.add(.convolution(attributes), x, w)
    _ = builder.add(.convolutionInputGradient(attributes), y, w, x)
    _ = builder.add(.convolutionFilterGradient(attributes), y, x, w)
    let steps: [Fused.Step] = [.map(.clip(low: 0, high: 6)), .combine(.add)]
    let fused = Fused(anchor: .convolution(attributes), anchorInputCount: 2, epilogue: steps)
    _ = builder.add(.fused(fused), x, w, y)
  }

  private func addSelections(to builder: GraphBuilder, _ x: Graph.ValueID) {
    let indices = builder.add(.constant(Constant(integers: [1, -1], shape: [2])))
    let parts = builder.add(.gather(Gather(axis: 2)), x, indices)
    _ = builder.add(.gatherGradient(Gather(axis: 2)), parts, indices, x)
    let pad = Pad(before: [0, 1, 0, 2], after: [0, 3, 0, 0], mode: .constant(0.5))
    _ = builder.add(.padGradient(pad), builder.add(.pad(pad), x), x)
    let mirrored = Pad(before: [0, 1, 0, 2], after: [0, 3, 0, 0], mode: .reflect)
    _ = builder.add(.pad(mirrored), x)
    let condition = builder.add(.compare(.greater), x, builder.add(.fill(0), x))
    _ = builder.add(.select, condition, x, builder.add(.broadcast(Broadcast([2, 6, 6, 4])), x))
  }

  private func addNormalization(
    to builder: GraphBuilder, _ x: Graph.ValueID, _ scale: Graph.ValueID
  ) {
    let running = RunningStatistics(
      layer: "bn", mean: "mean", variance: "variance", updateCount: "count",
      decay: .keepOld(0.9), estimator: .unbiased)
    _ = builder.addState("mean", TensorType([4]), role: .runningMean)
    _ = builder.addState("variance", TensorType([4]), role: .runningVariance)
    _ = builder.addState("count", TensorType(.int64, [] as Shape), role: .updateCount)
    let moments = builder.add(.batchMoments(BatchMoments(axis: -1, running: running)), [x])
    let normalize = Normalize(
      axis: -1, epsilon: 1e-5, source: .batch, hasScale: true, hasShift: false)
    let y = builder.add(.normalize(normalize), [x] + moments + [scale])[0]
    let gradient = NormalizeGradient(axis: -1, epsilon: 1e-5, source: .batch, hasScale: true)
    let sums = builder.add(.normalizeGradientSums(gradient), [y, x] + moments)
    _ = builder.add(.normalizeGradientInput(gradient), [y, x] + moments + sums + [scale])
  }

  /// Every number of the graph in turn becomes one that arithmetic does not expect.
  @Test func hostileNumbersAreRefusedOrRead() throws {
    try withFolder { folder in
      let saved = try everyKindOfNode(in: folder)
      let hostile = [
        "-1", "0", "16777216", "72057594037927936", "4611686018427387904", "9223372036854775807",
        "-9223372036854775808", "1e300", "\"N\"",
      ]
      let text = Array(saved.graph.utf8)
      var start = 0
      var numbers = 0
      while start < text.count {
        let isDigit = { (byte: UInt8) in (0x30...0x39).contains(byte) || byte == 0x2e }
        guard isDigit(text[start]), "[:,".utf8.contains(text[start - 1]) else {
          start += 1
          continue
        }
        let end = text[start...].firstIndex { !isDigit($0) } ?? text.count
        numbers += 1
        for value in hostile {
          let changed = text[..<start] + Array(value.utf8) + text[end...]
          try attempt(
            saved, String(decoding: changed, as: UTF8.self), in: folder, "\(start) \(value)")
        }
        start = end
      }
      #expect(numbers > 50)
    }
  }

  /// Pieces of the graph's text are removed, doubled and exchanged with a fixed seed.
  @Test func shuffledGraphsAreRefusedOrRead() throws {
    try withFolder { folder in
      let saved = try everyKindOfNode(in: folder)
      let pieces = saved.graph.split(separator: ",", omittingEmptySubsequences: false)
      for seed in UInt64(1)...1000 {
        var random = Lehmer(seed: seed)
        var changed = pieces
        let index = Int.random(in: 0..<changed.count, using: &random)
        switch Int.random(in: 0..<3, using: &random) {
        case 0: changed.remove(at: index)
        case 1: changed.insert(changed[index], at: index)
        default: changed.swapAt(index, Int.random(in: 0..<changed.count, using: &random))
        }
        try attempt(saved, changed.joined(separator: ","), in: folder, "seed \(seed)")
      }
    }
  }

  /// Reads the saved model with another graph in its header.
  ///
  /// The file is spliced by hand: writing thousands of models atomically would wait for the disk
  /// most of the time.
  private func attempt(_ saved: Saved, _ graph: String, in folder: String, _ what: String) throws {
    let header = saved.before + Saved.escape(graph) + saved.after
    try write(SafetensorsTests.file(header, saved.data), to: folder + "/changed")
    do { _ = try ModelFile.load(folder + "/changed") } catch is FileError {
    } catch { Issue.record("\(what): not a FileError: \(error)") }
  }
}
