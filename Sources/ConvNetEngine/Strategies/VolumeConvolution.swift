import CConvNetLoops
import ConvNetGraph

// A convolution over volumes is one over planes: the planes that the taps of a kernel's depth meet are
// put side by side as channels, kd·C of them for each plane of the output, and the filter's taps in
// depth become input channels too. The gradients follow by the adjoint: planes are added up where they
// came from.

extension PlanCompiler {
  mutating func emitVolume(_ convolution: Convolution, epilogue: Epilogue) throws {
    let volume = try volume(convolution, input: node.inputs[0])
    let planes = value(volume.planes(channels: volume.tapChannels), unfold(input(0), volume))
    let filter = planeFilter(node.inputs[1])
    node.inputs.replaceSubrange(0..<2, with: [planes, filter])
    try emitConvolution(convolution.plane, epilogue: epilogue)
  }

  mutating func emitVolumeInputGradient(_ convolution: Convolution) throws {
    let volume = try volume(convolution, input: node.inputs[2])
    let outer = node
    let dy = planes(node.inputs[0])
    let filter = planeFilter(node.inputs[1])
    let planes = value(volume.planes(channels: volume.tapChannels), nil)
    node.inputs = [dy, filter, planes]
    node.outputs = [planes]
    try emitConvolutionInputGradient(convolution.plane, epilogue: .none)
    node = outer
    fold(buffer(planes), volume, into: try output())
  }

  mutating func emitVolumeFilterGradient(_ convolution: Convolution) throws {
    let volume = try volume(convolution, input: node.inputs[1])
    let outer = node
    let dy = planes(node.inputs[0])
    let planes = value(volume.planes(channels: volume.tapChannels), unfold(input(1), volume))
    let stored = shape(node.inputs[2])
    let filter = value(stored.planeFilter, nil)
    node.inputs = [dy, planes, filter]
    node.outputs = [filter]
    try emitConvolutionFilterGradient(convolution.plane)
    node = outer
    let rows = [stored[1] * stored[2], stored[0], stored[3] * stored[4]]
    alias(
      emitTransposed(
        buffer(filter), shape: Shape(rows), Transpose([1, 0, 2]), byteCount: 4))
  }

  mutating func emitVolume(_ transposed: TransposedConvolution) throws {
    let (x, y) = (shape(node.inputs[0]), shape(node.outputs[0]))
    let axes = try transposed.axes(input: Array(x.dimensions[1...3]))
    let volume = VolumeShape(depth: axes[0], input: y, groups: transposed.convolution.groups)
    let outer = node
    let planes = value(volume.planes(channels: volume.tapChannels), nil)
    node.inputs = [self.planes(node.inputs[0]), planeFilter(node.inputs[1])]
    node.outputs = [planes]
    try emitTransposedConvolution(
      TransposedConvolution(
        transposed.convolution.plane, outputPadding: Array(transposed.outputPadding.dropFirst())))
    node = outer
    let result = try output()
    fold(buffer(planes), volume, into: result)
    if node.inputs.count == 3 {
      emitBias(input(2), to: result, rows: y.count / y[4], columns: y[4])
    }
  }

  // MARK: Parts

  private func volume(_ convolution: Convolution, input: Graph.ValueID) throws -> VolumeShape {
    let input = shape(input)
    return VolumeShape(
      depth: try convolution.window.axis(0, input: input[1]), input: input,
      groups: convolution.groups)
  }

  /// A value whose volumes are seen as so many images.
  private mutating func planes(_ volumes: Graph.ValueID) -> Graph.ValueID {
    let shape = shape(volumes)
    return value(
      Shape([shape[0] * shape[1]] + shape.dimensions.dropFirst(2)), buffer(volumes))
  }

  /// The filter [kd][kh·kw][…] as [kh·kw][kd][…].
  private mutating func planeFilter(_ filter: Graph.ValueID) -> Graph.ValueID {
    let shape = shape(filter)
    let taps = Shape([shape[0], shape[1] * shape[2], shape[3] * shape[4]])
    return value(
      shape.planeFilter,
      emitTransposed(buffer(filter), shape: taps, Transpose([1, 0, 2]), byteCount: 4))
  }

  private mutating func unfold(_ x: Buffer, _ volume: VolumeShape) -> Buffer {
    let zeros = zeros(volume.groupChannels)
    let planes = temporary(floats: volume.planes(channels: volume.tapChannels).count)
    emit(
      UnfoldVolumeStep(volume: volume, x: x, zeros: zeros, planes: planes), reads: [x, zeros],
      writes: [planes], suffix: "unfold")
    return planes
  }

  private mutating func fold(_ planes: Buffer, _ volume: VolumeShape, into x: Buffer) {
    emit(
      FoldVolumeStep(volume: volume, planes: planes, x: x), reads: [planes], writes: [x],
      suffix: "fold")
  }
}

extension Convolution {
  /// The convolution in each plane.
  fileprivate var plane: Convolution {
    var plane = self
    plane.window.kernel.removeFirst()
    plane.window.stride.removeFirst()
    plane.window.dilation.removeFirst()
    if case .explicit(let before, let after) = window.padding {
      plane.window.padding = .explicit(
        before: Array(before.dropFirst()), after: Array(after.dropFirst()))
    }
    return plane
  }
}

extension Shape {
  /// The filter's shape with its taps in depth among its input channels.
  fileprivate var planeFilter: Shape {
    [dimensions[1], dimensions[2], dimensions[0] * dimensions[3], dimensions[4]]
  }
}

/// The input of a convolution over volumes, `[N, D, H, W, C]`, and how its kernel slides over planes.
struct VolumeShape: Sendable {
  let images: Int
  let depth: Window.Axis
  let height: Int
  let width: Int
  let groups: Int
  let groupChannels: Int

  init(depth: Window.Axis, input: Shape, groups: Int) {
    (images, height, width) = (input[0], input[2], input[3])
    self.depth = depth
    self.groups = groups
    groupChannels = input[4] / groups
  }

  var channels: Int { groups * groupChannels }
  /// Channels of an unfolded plane: groups of taps of channels.
  var tapChannels: Int { depth.kernel * channels }
  var pixels: Int { height * width }

  /// As many images as the output has planes.
  func planes(channels: Int) -> Shape { [images * depth.output, height, width, channels] }
}

/// The planes that the taps in depth meet, side by side; zeros where they meet none.
final class UnfoldVolumeStep: Step {
  let volume: VolumeShape
  let x: Buffer
  let zeros: Buffer
  let planes: Buffer

  init(volume: VolumeShape, x: Buffer, zeros: Buffer, planes: Buffer) {
    self.volume = volume
    self.x = x
    self.zeros = zeros
    self.planes = planes
  }

  var pieces: Int { volume.images * volume.depth.output }

  func run(piece: Int, lane: Int, in context: Context) {
    let (depth, width) = (volume.depth, volume.groupChannels)
    let target = context.floats(planes) + piece * volume.pixels * volume.tapChannels
    for tap in 0..<depth.kernel {
      let plane =
        piece % depth.output * depth.stride + tap * depth.dilation - depth.before
      let isInside = 0..<depth.input ~= plane
      let image = piece / depth.output * depth.input + plane
      for group in 0..<volume.groups {
        let row = target + (group * depth.kernel + tap) * width
        if isInside {
          let source = context.floats(x) + image * volume.pixels * volume.channels + group * width
          cnl_copy_rows(row, volume.tapChannels, source, volume.channels, volume.pixels, width)
        } else {
          cnl_copy_rows(row, volume.tapChannels, context.floats(zeros), 0, volume.pixels, width)
        }
      }
    }
  }
}

/// The adjoint of `UnfoldVolumeStep`: every plane of x is the sum of its copies, in the order of the taps.
final class FoldVolumeStep: Step {
  let volume: VolumeShape
  let planes: Buffer
  let x: Buffer

  init(volume: VolumeShape, planes: Buffer, x: Buffer) {
    self.volume = volume
    self.planes = planes
    self.x = x
  }

  var pieces: Int { volume.images * volume.depth.input }

  func run(piece: Int, lane: Int, in context: Context) {
    let (depth, width) = (volume.depth, volume.groupChannels)
    let (row, tapRow) = (volume.channels, volume.tapChannels)
    let target = context.floats(x) + piece * volume.pixels * row
    cnl_fill(target, 0, volume.pixels * row)
    for tap in 0..<depth.kernel {
      let reach = piece % depth.input + depth.before - tap * depth.dilation
      guard reach >= 0, reach % depth.stride == 0, reach / depth.stride < depth.output else {
        continue
      }
      let plane = piece / depth.input * depth.output + reach / depth.stride
      for group in 0..<volume.groups {
        let source =
          context.floats(planes) + plane * volume.pixels * tapRow
          + (group * depth.kernel + tap) * width
        let sum = target + group * width
        cnl_combine(
          Int32(CNL_ADD.rawValue), sum, row, sum, row, 1, source, tapRow, 1, volume.pixels, width)
      }
    }
  }
}
