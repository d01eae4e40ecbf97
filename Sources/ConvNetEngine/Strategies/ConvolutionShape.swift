import CConvNetLoops
import ConvNetGraph

/// A convolution over images with every number known; a sequence is an image of one row.
struct ConvolutionShape: Sendable {
  let images: Int
  let height: Int
  let width: Int
  let channels: Int
  let outputHeight: Int
  let outputWidth: Int
  let filters: Int
  let groups: Int
  let vertical: Window.Axis
  let horizontal: Window.Axis
  /// The stored filter's taps in each dimension, and those left out before the first.
  let storedKernel: (height: Int, width: Int)
  let firstTap: (row: Int, column: Int)
  /// Whether rows and columns are those of the stored filter the other way round.
  let isUpright: Bool

  init(_ convolution: Convolution, input: Shape, filter: Shape) throws {
    let window = convolution.window
    guard (1...2).contains(window.rank) else {
      throw PlanError(.unsupported, "convolution over \(window.rank) spatial dimensions", at: "")
    }
    self.init(
      axes: try (0..<window.rank).map { try window.axis($0, input: input[1 + $0]) },
      images: input[0], channels: input[input.rank - 1], filters: filter[filter.rank - 1],
      groups: convolution.groups)
  }

  /// - Parameter axes: the one or two spatial dimensions.
  init(axes: [Window.Axis], images: Int, channels: Int, filters: Int, groups: Int) {
    vertical = axes.count == 2 ? axes[0] : Window.Axis(input: 1, output: 1, kernel: 1)
    horizontal = axes[axes.count - 1]
    (self.images, self.channels, self.filters, self.groups) = (images, channels, filters, groups)
    (height, width) = (vertical.input, horizontal.input)
    (outputHeight, outputWidth) = (vertical.output, horizontal.output)
    storedKernel = (vertical.kernel, horizontal.kernel)
    firstTap = (0, 0)
    isUpright = false
  }

  /// The same convolution without the outer taps that never fall inside the image.
  init(trimming shape: ConvolutionShape) {
    func trimmed(_ axis: Window.Axis) -> (axis: Window.Axis, first: Int) {
      let inside = (0..<axis.kernel).filter { tap in
        (0..<axis.output).contains {
          0..<axis.input ~= $0 * axis.stride - axis.before + tap * axis.dilation
        }
      }
      guard let first = inside.first, let last = inside.last else { return (axis, 0) }
      var axis = axis
      axis.before -= first * axis.dilation
      axis.after -= (axis.kernel - 1 - last) * axis.dilation
      axis.kernel = last - first + 1
      return (axis, first)
    }
    let (rows, columns) = (trimmed(shape.vertical), trimmed(shape.horizontal))
    (vertical, horizontal) = (rows.axis, columns.axis)
    firstTap = (rows.first, columns.first)
    isUpright = shape.isUpright
    (images, groups, storedKernel) = (shape.images, shape.groups, shape.storedKernel)
    (height, width, channels) = (shape.height, shape.width, shape.channels)
    (outputHeight, outputWidth, filters) = (
      shape.outputHeight, shape.outputWidth, shape.filters
    )
  }

  /// The same convolution with a sequence, an image of one row, stood upright: one column, whose rows can be
  /// shared out.
  init(upright shape: ConvolutionShape) {
    isUpright = shape.height == 1 && shape.outputHeight == 1 && shape.kernelHeight == 1
    (vertical, horizontal) =
      isUpright ? (shape.horizontal, shape.vertical) : (shape.vertical, shape.horizontal)
    (storedKernel, firstTap) = (shape.storedKernel, shape.firstTap)
    (images, channels, filters) = (shape.images, shape.channels, shape.filters)
    groups = shape.groups
    (height, width) = (vertical.input, horizontal.input)
    (outputHeight, outputWidth) = (vertical.output, horizontal.output)
  }

  /// The number of a tap in the stored filter.
  func storedTap(row: Int, column: Int) -> Int {
    let (row, column) = isUpright ? (column, row) : (row, column)
    return (firstTap.row + row) * storedKernel.width + firstTap.column + column
  }
  var storedTaps: Int { storedKernel.height * storedKernel.width }
  /// Which taps of the stored filter are computed, for the names of layouts.
  var tapNames: String {
    let (rows, columns) = isUpright ? (kernelWidth, kernelHeight) : (kernelHeight, kernelWidth)
    return "\(firstTap.row)+\(rows),\(firstTap.column)+\(columns)"
  }

  /// The convolution that takes dy to dx: of stride 1, with the filter turned round and transposed.
  init(adjointOf shape: ConvolutionShape) {
    func adjoint(_ axis: Window.Axis) -> Window.Axis {
      guard axis.stride == 1 else {
        fatalError("The adjoint of a convolution of stride \(axis.stride) is no convolution.")
      }
      let reach = (axis.kernel - 1) * axis.dilation
      var axis = axis
      swap(&axis.input, &axis.output)
      (axis.before, axis.after) = (reach - axis.before, reach - axis.after)
      return axis
    }
    (vertical, horizontal) = (adjoint(shape.vertical), adjoint(shape.horizontal))
    (storedKernel, firstTap) = (shape.storedKernel, shape.firstTap)
    isUpright = shape.isUpright
    (images, groups) = (shape.images, shape.groups)
    (height, width, channels) = (shape.outputHeight, shape.outputWidth, shape.filters)
    (outputHeight, outputWidth, filters) = (shape.height, shape.width, shape.channels)
  }

  var kernelHeight: Int { vertical.kernel }
  var kernelWidth: Int { horizontal.kernel }
  var taps: Int { kernelHeight * kernelWidth }
  var groupChannels: Int { channels / groups }
  var groupFilters: Int { filters / groups }
  /// The length of one im2col row.
  var depth: Int { taps * groupChannels }
  /// Output pixels of one image.
  var pixels: Int { outputHeight * outputWidth }

  /// One tap, one pixel apart, nothing added: a matrix product on the activations as they lie.
  var isPointwise: Bool {
    taps == 1 && vertical.stride == 1 && horizontal.stride == 1
      && (vertical.before, vertical.after, horizontal.before, horizontal.after) == (0, 0, 0, 0)
  }

  /// 3 × 3, neighbouring pixels, all channels together: what Winograd's algorithm takes.
  var isWinograd: Bool {
    (kernelHeight, kernelWidth) == (3, 3) && groups == 1
      && (vertical.stride, horizontal.stride) == (1, 1)
      && (vertical.dilation, horizontal.dilation) == (1, 1)
  }

  var isDepthwise: Bool { groups == channels && filters == channels && groups > 1 }

  /// The geometry as the C loops take it, over images of `channels` channels.
  var window: cnl_window {
    cnl_window(
      height: height, width: width, channels: channels, kernelHeight: kernelHeight,
      kernelWidth: kernelWidth, strideHeight: vertical.stride, strideWidth: horizontal.stride,
      dilationHeight: vertical.dilation, dilationWidth: horizontal.dilation,
      padTop: vertical.before, padLeft: horizontal.before, outputHeight: outputHeight,
      outputWidth: outputWidth)
  }
}
