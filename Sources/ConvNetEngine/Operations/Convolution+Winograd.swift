import ConvNetGraph

extension PlanCompiler {
  /// y = x ∗ w + b in Winograd's domain: by blocks of tiles where there are many, else by panels of filters.
  ///
  /// The shape is that of the computed convolution; with `isAdjoint` the filter is that of the
  /// convolution whose adjoint it is.
  mutating func emitWinograd(
    _ shape: ConvolutionShape, x: Buffer, filter: Buffer, bias: Buffer, residual: Buffer?,
    epilogue: Epilogue, isAdjoint: Bool = false
  ) throws {
    let tiles = isTrained ? WinogradTiles(trained: shape) : WinogradTiles(shape)
    let product = WinogradProduct(tiles: tiles, kernels: kernels, epilogue: epilogue)
    let packed = packedWinogradFilter(tiles, buffer: filter, isAdjoint: isAdjoint)
    let zeros = zeros(shape.channels)
    let reads = [packed, bias] + [residual].compactMap { $0 }
    if let blocks = WinogradConvolution.blocks(tiles) {
      let sums = blockSums(counts: tiles.counts(blocks))
      let y = try output()
      emit(
        WinogradConvolution(
          product: product, blocks: blocks, x: x, zeros: zeros, packed: packed, bias: bias,
          residual: residual, sums: sums, y: y),
        reads: reads + [x, zeros] + sums.reads, writes: [y] + sums.writes)
      return
    }
    let v = temporary(floats: tiles.planes * WinogradInputStep.planeStride(tiles))
    emit(
      WinogradInputStep(tiles: tiles, x: x, zeros: zeros, v: v), reads: [x, zeros], writes: [v],
      suffix: "transform")
    let sums = blockSums(counts: tiles.counts(WinogradOutputStep.blocks(product)))
    let y = try output()
    emit(
      WinogradOutputStep(
        product: product, v: v, packed: packed, bias: bias, residual: residual, sums: sums, y: y),
      reads: reads + [v] + sums.reads, writes: [y] + sums.writes)
  }

  /// Whether the node's filter changes with every run: its gradient is part of the graph.
  private var isTrained: Bool {
    graph.nodes.contains {
      if case .convolutionFilterGradient = $0.operation { return $0.inputs[2] == node.inputs[1] }
      return false
    }
  }

  private mutating func packedWinogradFilter(
    _ tiles: WinogradTiles, buffer: Buffer, isAdjoint: Bool
  ) -> Buffer {
    let step = { (source: Buffer, target: Buffer) in
      WinogradFilterStep(source: source, target: target, tiles: tiles, isAdjoint: isAdjoint)
    }
    let layout = "\(isAdjoint ? "adjoint" : "filter")/\(tiles.name)"
    if let packed = pack(
      parameter: node.inputs[1], layout: layout, floatCount: tiles.filterCount, make: step)
    {
      return packed
    }
    let packed = temporary(floats: tiles.filterCount)
    emit(step(buffer, packed), reads: [buffer], writes: [packed], suffix: "pack")
    return packed
  }
}
