extension Graph.Value {
  /// 2-D convolution of `[N, H, W, C]` to `[N, H′, W′, filters]`.
  ///
  /// Parameters: `weight` `[kernel, kernel, C/groups, filters]` and, unless `bias` is false, `bias`
  /// `[filters]`. A bias before a batch normalisation has no effect.
  ///
  /// - Parameters:
  ///   - filters: the number of output channels.
  ///   - kernel: the extent of the square kernel.
  ///   - stride: pixels between neighbouring outputs.
  ///   - padding: what is added around the image; `.same` gives ⌈H/stride⌉ rows.
  ///   - dilation: pixels between neighbouring taps; 1 is dense.
  ///   - groups: in how many groups channels are separated.
  ///   - bias: whether a learned bias is added.
  ///   - name: the layer's name; `convolution1`, `convolution2`, … by default.
  public func convolution(
    _ filters: Int, kernel: Int, stride: Int = 1, padding: Padding = .same, dilation: Int = 1,
    groups: Int = 1, bias: Bool = true, name: String? = nil
  ) -> Graph.Value {
    convolution(
      filters,
      window: Window(
        kernel: [kernel, kernel], stride: [stride, stride], dilation: [dilation, dilation],
        padding: padding),
      groups: groups, bias: bias, name: name)
  }

  /// Convolution of `[N, …, C]` to `[N, …′, filters]`, over one, two or three spatial dimensions with a
  /// geometry of their own.
  ///
  /// Parameters: `weight` `[kernel…, C/groups, filters]` and, unless `bias` is false, `bias` `[filters]`.
  public func convolution(
    _ filters: Int, window: Window, groups: Int = 1, bias: Bool = true, name: String? = nil
  ) -> Graph.Value {
    let layer = builder.layerName(name, base: "convolution")
    let channels = channels(for: layer)
    guard filters >= 1, groups >= 1, channels % groups == 0, filters % groups == 0 else {
      builder.fail(
        GraphError(
          .invalidAttribute,
          "\(channels) channels and \(filters) filters cannot be split into \(groups) groups",
          at: layer))
      return self
    }
    do { try window.check() } catch {
      builder.fail(GraphBuilder.place(error, at: layer))
      return self
    }
    let shape = window.kernel + [channels / groups, filters]
    var operands = [
      id, builder.addParameter("\(layer).weight", shape, role: .convolutionFilter),
    ]
    if bias {
      operands.append(builder.addParameter("\(layer).bias", [filters], role: .bias))
    }
    let operation = Operation.convolution(Convolution(window: window, groups: groups))
    return Graph.Value(builder: builder, id: builder.add(operation, operands, name: layer)[0])
  }

  /// 2-D transposed convolution of `[N, H, W, C]` to `[N, H′, W′, filters]`: the adjoint of the convolution
  /// that takes `filters` channels to C (Dumoulin & Visin 2016, chapter 4; "deconvolution" elsewhere).
  ///
  /// H′ = (H − 1)·stride + dilation·(kernel − 1) + 1 + outputPadding − padding at both edges. Parameters:
  /// `weight` `[kernel, kernel, filters/groups, C]` and, unless `bias` is false, `bias` `[filters]`.
  ///
  /// - Parameters:
  ///   - filters: the number of output channels.
  ///   - kernel: the extent of the square kernel.
  ///   - stride: pixels of the output between those of neighbouring inputs.
  ///   - padding: what is cut off around the output; `.valid` or explicit.
  ///   - outputPadding: pixels added at the bottom and at the right, fewer than the stride or the dilation.
  ///   - dilation: pixels between neighbouring taps; 1 is dense.
  ///   - groups: in how many groups channels are separated.
  ///   - bias: whether a learned bias is added.
  ///   - name: the layer's name; `transposedConvolution1`, … by default.
  public func transposedConvolution(
    _ filters: Int, kernel: Int, stride: Int = 1, padding: Padding = .valid,
    outputPadding: Int = 0, dilation: Int = 1, groups: Int = 1, bias: Bool = true,
    name: String? = nil
  ) -> Graph.Value {
    transposedConvolution(
      filters,
      window: Window(
        kernel: [kernel, kernel], stride: [stride, stride], dilation: [dilation, dilation],
        padding: padding),
      outputPadding: [outputPadding, outputPadding], groups: groups, bias: bias, name: name)
  }

  /// Transposed convolution of `[N, …, C]` to `[N, …′, filters]`, over one, two or three spatial dimensions
  /// with a geometry of their own.
  ///
  /// Parameters: `weight` `[kernel…, filters/groups, C]` and, unless `bias` is false, `bias` `[filters]`.
  /// `outputPadding` adds positions at the end of each spatial dimension, fewer than the stride or the
  /// dilation; none by default.
  public func transposedConvolution(
    _ filters: Int, window: Window, outputPadding: [Int]? = nil, groups: Int = 1,
    bias: Bool = true, name: String? = nil
  ) -> Graph.Value {
    let layer = builder.layerName(name, base: "transposedConvolution")
    let channels = channels(for: layer)
    do {
      try window.checkConvolution()
      guard filters >= 1, groups >= 1, channels % groups == 0, filters % groups == 0 else {
        throw GraphError(
          .invalidAttribute,
          "\(channels) channels and \(filters) filters cannot be split into \(groups) groups")
      }
    } catch {
      builder.fail(GraphBuilder.place(error, at: layer))
      return self
    }
    let shape = window.kernel + [filters / groups, channels]
    var operands = [
      id, builder.addParameter("\(layer).weight", shape, role: .convolutionFilter),
    ]
    if bias {
      operands.append(builder.addParameter("\(layer).bias", [filters], role: .bias))
    }
    let operation = TransposedConvolution(
      Convolution(window: window, groups: groups), outputPadding: outputPadding)
    return Graph.Value(
      builder: builder,
      id: builder.add(.transposedConvolution(operation), operands, name: layer)[0])
  }

  /// Depthwise convolution of `[N, H, W, C]` to `[N, H′, W′, C]`: every channel has a kernel of its own.
  ///
  /// Parameters: `weight` `[kernel, kernel, 1, C]` and, unless `bias` is false, `bias` `[C]`.
  public func depthwiseConvolution(
    kernel: Int, stride: Int = 1, padding: Padding = .same, dilation: Int = 1, bias: Bool = true,
    name: String? = nil
  ) -> Graph.Value {
    let channels = type.dimensions.last?.extent ?? 1
    return convolution(
      channels, kernel: kernel, stride: stride, padding: padding, dilation: dilation,
      groups: channels, bias: bias, name: name)
  }

  /// Dense layer: `[N, in]`, or `[N, …, in]`, times a matrix `[in, units]`, to `[N, units]` or
  /// `[N, …, units]`.
  ///
  /// Parameters: `weight` `[in, units]` and, unless `bias` is false, `bias` `[units]`.
  public func dense(_ units: Int, bias: Bool = true, name: String? = nil) -> Graph.Value {
    let layer = builder.layerName(name, base: "dense")
    let channels = channels(for: layer)
    guard units >= 1 else {
      builder.fail(GraphError(.invalidAttribute, "cannot have \(units) units", at: layer))
      return self
    }
    var operands = [
      id, builder.addParameter("\(layer).weight", [channels, units], role: .denseWeight),
    ]
    if bias { operands.append(builder.addParameter("\(layer).bias", [units], role: .bias)) }
    let operation = Operation.matrixMultiply(MatrixMultiply())
    return Graph.Value(builder: builder, id: builder.add(operation, operands, name: layer)[0])
  }
}
