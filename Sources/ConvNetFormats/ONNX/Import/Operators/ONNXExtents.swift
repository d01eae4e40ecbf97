import ConvNetGraph

extension ONNXOperators {
  /// Constants and extents as data.
  static let extents: [String: ONNXOperator] = [
    "Constant": { [try constant($0)] },
    "ConstantOfShape": one { try constantOfShape($0) },
    "Range": one { node in
      let bounds = try (0..<3).map { try node.bound($0) }
      return try node.deferred(.range, bounds[0], bounds[1], bounds[2])
    },
    "Shape": one { node in
      try node.deferred(
        .extents(start: node.int("start", default: 0), end: node.int("end")), node.input(0))
    },
    "Size": one { node in
      let x = try node.input(0)
      let one = try node.add(.constant(Constant(integers: [1], shape: [])), [])[0]
      return try (0..<node.rank(x)).reduce(one) { product, axis in
        let extent = try node.add(.reshape(Reshape([])), node.extent(x, axis))
        return try node.combine(.multiply, product, extent)
      }
    },
    "Resize": one { try resize($0) },
    "Upsample": one { try upsample($0) },
  ]

  private static func constant(_ node: ONNXNodeImporter) throws -> ONNXImporter.Value {
    let name = node.node.outputs.first ?? node.name
    if let tensor = try node.tensor("value") { return .stored(tensor) }
    let tensor: Tensor
    if let number = try node.float("value_float") {
      tensor = Tensor([Float(number)], shape: [])
    } else if let numbers = try node.floats("value_floats") {
      tensor = Tensor(numbers.map { Float($0) }, shape: [numbers.count])
    } else if let number = try node.int("value_int") {
      tensor = Tensor([Int64(number)], shape: [])
    } else if let numbers = try node.ints("value_ints") {
      tensor = Tensor(numbers.map { Int64($0) }, shape: [numbers.count])
    } else {
      let kinds = node.node.attributes.map(\.name).joined(separator: ", ")
      throw node.unsupported("a constant of \(kinds)")
    }
    return .stored(ONNXTensor(name, tensor))
  }

  private static func constantOfShape(_ node: ONNXNodeImporter) throws -> Graph.ValueID {
    var value = Constant(numbers: [0], shape: [1])
    if let tensor = try node.tensor("value") {
      guard tensor.shape.count == 1 else { throw node.malformed("the value is not one number") }
      let data = try tensor.read()
      value =
        data.elementType.isFloatingPoint
        ? Constant(numbers: data.doubles, shape: [1], elementType: data.elementType)
        : Constant(integers: data.integers, shape: [1], elementType: data.elementType)
    }
    return try node.deferred(.fill(value), node.extents(0))
  }

  // MARK: Resize

  private static func upsample(_ node: ONNXNodeImporter) throws -> Graph.ValueID {
    let scales = try node.floats("scales") ?? node.numbers(1)
    let isLinear: Bool
    switch try node.string("mode", default: "nearest") {
    case "nearest": isLinear = false
    case "linear", "bilinear": isLinear = true
    case let other: throw node.malformed("there is no mode \(FileError.quoted(other))")
    }
    let resize = Resize(
      axis: 0, extent: .scale(1), interpolation: isLinear ? .linear : .nearest(.floor),
      coordinates: .asymmetric)
    let x = try node.input(0)
    return try node.resized(x, resize, Array(0..<node.rank(x)), scales: scales)
  }

  private static func resize(_ node: ONNXNodeImporter) throws -> Graph.ValueID {
    let x = try node.input(0)
    let type = node.builder.type(of: x)
    let axes = try node.ints("axes")?.map { try node.axis($0, of: type) } ?? Array(0..<type.rank)
    let isOld = node.opset < 11
    var resize = Resize(
      axis: 0, extent: .scale(1), interpolation: try interpolation(node),
      coordinates: .asymmetric, antialiases: try node.bool("antialias"),
      excludesOutside: try node.bool("exclude_outside"))
    let name = try node.string(
      "coordinate_transformation_mode", default: isOld ? "asymmetric" : "half_pixel")
    let scales = isOld ? 1 : 2
    // Empty operands were the way to leave them out in operator set 11.
    let hasScales = try node.has(scales) && node.type(scales).shape?.count != 0
    guard name != "tf_crop_and_resize" else {
      return try crop(node, x, resize, axes, hasScales ? node.numbers(scales) : nil)
    }
    resize.coordinates = try coordinates(node, name)
    if hasScales {
      return try node.resized(x, resize, axes, scales: node.numbers(scales))
    }
    guard node.has(3) else { throw node.malformed("neither scales nor sizes are given") }
    let policy = try node.string("keep_aspect_ratio_policy", default: "stretch")
    if policy != "stretch" {
      let sizes = try node.integers(3) ?? []
      return try node.resized(
        x, resize, axes, fitting: sizes, isSmallest: policy == "not_larger")
    }
    if let sizes = try node.knownIntegers(3) {
      return try node.resized(x, resize, axes, sizes: sizes)
    }
    let parts = axes.map { axis in
      var part = resize
      part.axis = axis
      return part
    }
    return try node.deferred(.resize(parts), x, node.extents(3))
  }

  private static func interpolation(_ node: ONNXNodeImporter) throws -> Resize.Interpolation {
    switch try node.string("mode", default: "nearest") {
    case "nearest":
      let standard = node.opset < 11 ? "floor" : "round_prefer_floor"
      switch try node.string("nearest_mode", default: standard) {
      case "round_prefer_floor", "": return .nearest(.preferFloor)
      case "round_prefer_ceil": return .nearest(.preferCeiling)
      case "floor": return .nearest(.floor)
      case "ceil": return .nearest(.ceiling)
      case let other: throw node.malformed("there is no rounding \(FileError.quoted(other))")
      }
    case "linear", "bilinear": return .linear
    case "cubic": return .cubic(try node.float("cubic_coeff_a", default: -0.75))
    case let other: throw node.malformed("there is no mode \(FileError.quoted(other))")
    }
  }

  private static func coordinates(
    _ node: ONNXNodeImporter, _ name: String
  ) throws -> Resize.Coordinates {
    switch name {
    case "half_pixel": .halfPixel
    case "half_pixel_symmetric": .halfPixelSymmetric
    case "pytorch_half_pixel": .pytorchHalfPixel
    case "tf_half_pixel_for_nn": .tensorFlowHalfPixel
    case "align_corners": .alignCorners
    case "asymmetric": .asymmetric
    default: throw node.malformed("there are no coordinates \(FileError.quoted(name))")
    }
  }

  /// A part of each axis, between the first half of the region's numbers and the second.
  private static func crop(
    _ node: ONNXNodeImporter, _ x: Graph.ValueID, _ resize: Resize, _ axes: [Int],
    _ scales: [Double]?
  ) throws -> Graph.ValueID {
    let region = try node.numbers(1)
    let sizes = scales == nil ? try node.integers(3) ?? [] : []
    let count = scales?.count ?? sizes.count
    guard region.count == 2 * axes.count, count == axes.count else {
      throw node.malformed("region, scales or sizes do not fit \(axes.count) axes")
    }
    let outside = try node.float("extrapolation_value", default: 0)
    return try axes.indices.reduce(x) { x, index in
      var part = resize
      part.axis = axes[index]
      part.extent = scales.map { .scale($0[index]) } ?? .size(sizes[index])
      part.coordinates = .crop(
        start: region[index], end: region[axes.count + index], outside: outside)
      if region[index] == 0, region[axes.count + index] == 1, scales?[index] == 1 { return x }
      return try node.add(.resize(part), x)
    }
  }
}

extension ONNXNodeImporter {
  /// An operand of one number, known or computed from extents.
  fileprivate func bound(_ index: Int) throws -> Graph.ValueID {
    let value = try input(index)
    guard builder.knownNumbers(of: value) == nil, let number = try? number(index) else {
      return value
    }
    return try constant(number, builder.type(of: value).elementType)
  }

  /// One resize an axis, in order; a scale of 1 is none.
  fileprivate func resized(
    _ x: Graph.ValueID, _ resize: Resize, _ axes: [Int], scales: [Double]
  ) throws -> Graph.ValueID {
    guard scales.count == axes.count else {
      throw malformed("\(scales.count) scales do not fit \(axes.count) axes")
    }
    return try zip(axes, scales).reduce(x) { x, pair in
      guard pair.1 != 1 else { return x }
      var part = resize
      part.axis = pair.0
      part.extent = .scale(pair.1)
      return try add(.resize(part), x)
    }
  }

  fileprivate func resized(
    _ x: Graph.ValueID, _ resize: Resize, _ axes: [Int], sizes: [Int]
  ) throws -> Graph.ValueID {
    guard sizes.count == axes.count else {
      throw malformed("\(sizes.count) sizes do not fit \(axes.count) axes")
    }
    return try zip(axes, sizes).reduce(x) { x, pair in
      guard builder.type(of: x).dimensions[pair.0] != .fixed(pair.1) else { return x }
      var part = resize
      part.axis = pair.0
      part.extent = .size(pair.1)
      return try add(.resize(part), x)
    }
  }

  /// The same scale for all axes: the smallest or largest that the sizes ask for.
  fileprivate func resized(
    _ x: Graph.ValueID, _ resize: Resize, _ axes: [Int], fitting sizes: [Int], isSmallest: Bool
  ) throws -> Graph.ValueID {
    let extents = axes.compactMap { builder.type(of: x).dimensions[$0].extent }
    guard extents.count == axes.count, sizes.count == axes.count,
      !extents.contains(0), !sizes.isEmpty, sizes.allSatisfy({ (0...(1 << 24)).contains($0) }),
      extents.allSatisfy({ $0 <= 1 << 24 })
    else { throw unsupported("sizes that keep the aspect ratio of open extents") }
    let scales = zip(sizes, extents).map { Double($0) / Double($1) }
    let scale = (isSmallest ? scales.min() : scales.max()) ?? 1
    let wanted = extents.map { (Double($0) * scale).rounded() }
    guard
      zip(wanted, extents).allSatisfy({
        Double((Float($1) * Float(scale)).rounded(.down)) == $0
      })
    else {
      return try resized(x, resize, axes, sizes: wanted.map { Int($0) })
    }
    return try resized(x, resize, axes, scales: axes.map { _ in scale })
  }
}
