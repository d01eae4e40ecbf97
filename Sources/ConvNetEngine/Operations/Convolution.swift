import CConvNetLoops
import ConvNetGraph

extension PlanCompiler {
  /// y = x ∗ w + b, by the strategy that the table gives.
  mutating func emitConvolution(_ convolution: Convolution, epilogue: Epilogue) throws {
    if convolution.window.rank == 3 {
      return try emitVolume(convolution, epilogue: epilogue)
    }
    let whole = try convolutionShape(convolution, input: node.inputs[0], filter: node.inputs[1])
    let (x, filter) = (input(0), input(1))
    let biasIndex = epilogue.residual == 2 || node.inputs.count < 3 ? nil : 2
    let bias = biasIndex.map { input($0) } ?? zeros(whole.filters)
    let residual = epilogue.residual.map { input($0) }
    let strategy = ConvolutionStrategy.choose(whole, options: options)
    let trims = strategy == .im2col || strategy == .direct
    let shape = trims ? ConvolutionShape(trimming: whole) : whole
    choices.append(
      ConvolutionChoice(
        layer: node.name, chosen: strategy.rawValue,
        declined: strategy.declined(whole, options: options)))
    let reads = [x, bias] + [residual].compactMap { $0 }
    let product = PanelProduct(
      depth: shape.depth, columns: shape.groupFilters, kernels: kernels, epilogue: epilogue,
      hasBias: biasIndex != nil)
    switch strategy {
    case .pointwise:
      let packed = packedFilter(shape, of: node.inputs[1])
      let rows = PointwiseConvolution.rows(shape.images * shape.pixels, product)
      let sums = blockSums(counts: rows.sizes)
      let y = try output()
      emit(
        PointwiseConvolution(
          rows: rows, product: product, x: x, packed: packed, bias: bias, residual: residual,
          sums: sums, y: y),
        reads: reads + [packed] + sums.reads, writes: [y] + sums.writes)
    case .direct:
      let shape = ConvolutionShape(upright: shape)
      let packed = packedFilter(shape, of: node.inputs[1])
      let cuts = DirectConvolution.Cuts(
        images: shape.images, height: shape.outputHeight, width: shape.outputWidth, rowStep: 1,
        panels: product.panelCount)
      let sums = blockSums(counts: cuts.counts)
      let y = try output()
      let line = LineConvolution(
        vertical: shape.vertical, horizontal: shape.horizontal, channels: shape.channels,
        target: (0, 1, shape.outputWidth), packedOffset: 0)
      emit(
        DirectConvolution(
          parts: [line], product: product, cuts: cuts, x: x, packed: packed, bias: bias,
          residual: residual, sums: sums, y: y),
        reads: reads + [packed] + sums.reads, writes: [y] + sums.writes)
    case .im2col:
      let packed = packedFilter(shape, of: node.inputs[1])
      let sums = blockSums(counts: Im2colConvolution.tiles(shape, product).rows.sizes)
      let y = try output()
      emit(
        Im2colConvolution(
          shape: shape, product: product, x: x, packed: packed, bias: bias, residual: residual,
          sums: sums, y: y),
        reads: reads + [packed] + sums.reads, writes: [y] + sums.writes)
    case .winograd:
      try emitWinograd(
        shape, x: x, filter: filter, bias: bias, residual: residual, epilogue: epilogue)
    case .depthwise, .thin:
      let (low, high) = residual == nil ? (epilogue.low, epilogue.high) : (-.infinity, .infinity)
      let sums =
        residual != nil
        ? []
        : blockSums(
          counts: strategy == .depthwise
            ? DepthwiseConvolution.counts(shape) : ThinConvolution.counts(shape))
      let y = try output()
      let step: any Step =
        strategy == .depthwise
        ? DepthwiseConvolution(
          shape: shape, x: x, filter: filter, bias: bias, low: low, high: high, sums: sums, y: y)
        : ThinConvolution(
          shape: shape, x: x, filter: filter, bias: bias, low: low, high: high, sums: sums, y: y)
      emit(step, reads: [x, filter, bias] + sums.reads, writes: [y] + sums.writes)
      if let residual {
        emitAddClamp(y, residual, epilogue, count: shape.images * shape.pixels * shape.filters)
      }
    }
  }

  func convolutionShape(
    _ convolution: Convolution, input: Graph.ValueID, filter: Graph.ValueID
  ) throws -> ConvolutionShape {
    do {
      return try ConvolutionShape(convolution, input: shape(input), filter: shape(filter))
    } catch let error as PlanError {
      throw unsupported(error.reason)
    }
  }

  /// The filter's panels: of a parameter packed when it changes, of any other value in every run.
  mutating func packedFilter(_ shape: ConvolutionShape, of filter: Graph.ValueID) -> Buffer {
    let step = { (source: Buffer, target: Buffer) in
      PackFilterStep(source: source, target: target, shape: shape)
    }
    let count = shape.depth * shape.filters
    if let packed = pack(
      parameter: filter, layout: "filter/\(shape.groups)/\(shape.tapNames)", floatCount: count,
      make: step)
    {
      return packed
    }
    let packed = temporary(floats: count)
    let source = buffer(filter)
    emit(step(source, packed), reads: [source], writes: [packed], suffix: "pack")
    return packed
  }
}

/// Packs a filter [depth][groups · filters of a group] into panels, group after group.
final class PackFilterStep: Step {
  let source: Buffer
  let target: Buffer
  let shape: ConvolutionShape

  init(source: Buffer, target: Buffer, shape: ConvolutionShape) {
    self.source = source
    self.target = target
    self.shape = shape
  }

  private var panels: PanelColumns { PanelColumns(shape.groupFilters) }

  var pieces: Int { shape.groups * panels.count }

  func run(piece: Int, lane: Int, in context: Context) {
    let group = piece / panels.count
    let columns = panels.range(piece % panels.count)
    let (column, width) = (columns.lowerBound, columns.count)
    let packed =
      context.floats(target) + group * shape.depth * shape.groupFilters + column * shape.depth
    let rows = shape.kernelWidth * shape.groupChannels
    for row in 0..<shape.kernelHeight {
      let first = shape.storedTap(row: row, column: 0) * shape.groupChannels
      cnl_pack_panels(
        packed + row * rows * width,
        context.floats(source) + first * shape.filters + group * shape.groupFilters + column,
        shape.filters, rows, width)
    }
  }
}
