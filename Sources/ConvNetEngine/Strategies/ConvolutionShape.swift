import CConvNetLoops
import ConvNetGraph

/// A convolution with every number known.
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

  init(_ convolution: Convolution, input: Shape, filter: Shape) throws {
    let window = convolution.window
    guard window.rank == 2 else {
      throw PlanError(.unsupported, "convolution over \(window.rank) spatial dimensions", at: "")
    }
    vertical = try window.axis(0, input: input[1])
    horizontal = try window.axis(1, input: input[2])
    (images, height, width, channels) = (input[0], input[1], input[2], input[3])
    (outputHeight, outputWidth) = (vertical.output, horizontal.output)
    filters = filter[3]
    groups = convolution.groups
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
