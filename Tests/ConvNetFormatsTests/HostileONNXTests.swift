import ConvNetFormats
import ConvNetGraph
import Glibc
import Testing

/// Files made byte by byte.
@Suite struct HostileONNXTests {
  static func varint(_ value: UInt64) -> [UInt8] {
    value < 0x80 ? [UInt8(value)] : [UInt8(value & 0x7f) | 0x80] + varint(value >> 7)
  }

  /// A length-delimited field, of another length than its bytes where one is given.
  static func field(_ number: UInt64, _ bytes: [UInt8], length: UInt64? = nil) -> [UInt8] {
    varint(number << 3 | 2) + varint(length ?? UInt64(bytes.count)) + bytes
  }

  static func field(_ number: UInt64, _ text: String) -> [UInt8] { field(number, Array(text.utf8)) }

  static func number(_ field: UInt64, _ value: Int64) -> [UInt8] {
    varint(field << 3) + varint(UInt64(bitPattern: value))
  }

  /// A model of a graph's bytes.
  static func model(_ graph: [UInt8]) -> [UInt8] {
    field(8, number(2, 20)) + field(7, graph)
  }

  /// A TensorProto of float elements with more fields.
  static func tensor(_ extents: [Int64], type: Int64 = 1, _ rest: [UInt8]) -> [UInt8] {
    extents.flatMap { number(1, $0) } + number(2, type) + field(8, "w") + rest
  }

  static func initializer(_ extents: [Int64], type: Int64 = 1, _ rest: [UInt8]) -> [UInt8] {
    model(field(5, tensor(extents, type: type, rest)))
  }

  static func attribute(_ rest: [UInt8]) -> [UInt8] {
    model(field(1, field(2, "y") + field(5, field(1, "a") + rest)))
  }

  static let four: [UInt8] = [0, 0, 128, 63]

  @Test(arguments: [
    // Wire format.
    ([], FileError.Code.mismatched, "no graph"),
    (Array("PK\u{3}\u{4}hello".utf8), .malformed, ""),
    ([0x3a, 0x05, 0x00], .truncated, "announced"),
    ([0x3a] + varint(1 << 63), .truncated, "announced"),
    ([0x3a] + varint(.max), .truncated, "announced"),
    ([0x3a] + [UInt8](repeating: 0xff, count: 11), .malformed, "64 bits"),
    ([0x08] + [UInt8](repeating: 0x80, count: 9) + [2], .malformed, "64 bits"),
    ([0x08, 0x80], .truncated, "inside a number"),
    ([0x00, 0x00], .malformed, "no field"), ([0x0b, 0x0c], .malformed, "wire type 3"),
    ([0x0e], .malformed, "wire type 6"), ([0x0d, 1, 2], .malformed, "wire type"),
    ([0x3d, 1, 2, 3, 4], .malformed, "wire type"),
    (model([]) + [0x7d, 1, 2], .truncated, "inside a number"),
    (model([0x80]), .malformed, "ends inside a number"),
    (model(field(5, [], length: 7)), .malformed, "passes the end"),
    (model(field(2, [0xff, 0xfe])), .malformed, "UTF-8"),
    (model([]) + model([]), .malformed, "second graph"),
    (field(7, []), .malformed, "operator set"),
    (model([]) + field(8, number(2, 19)), .malformed, "versions 20 and 19"),
    // Tensors.
    (initializer([1], []), .malformed, "\"w\": float [1] takes 4 bytes and there are 0"),
    (initializer([2], field(9, four)), .malformed, "takes 8 bytes"),
    (initializer([-1], field(9, four)), .malformed, "impossible"),
    (initializer([1 << 31, 1 << 31], field(9, four)), .malformed, "impossible"),
    (initializer([.max], field(9, four)), .malformed, "impossible"),
    (initializer([1 << 40], field(9, four)), .malformed, "takes"),
    (initializer([0, .max], []), .malformed, "impossible"),
    (initializer([Int64](repeating: 1, count: 65), field(9, four)), .malformed, "64 dimensions"),
    (initializer([1], field(9, four) + field(4, four)), .malformed, "given twice"),
    (initializer([1], field(4, four) + field(9, four)), .malformed, "given twice"),
    (initializer([1], field(9, four) + field(9, four)), .malformed, "given twice"),
    (initializer([1], field(5, [1])), .malformed, "another type"),
    (initializer([1], field(4, [1, 2, 3])), .malformed, "elements of 4 bytes"),
    (initializer([1], field(3, [])), .unsupported, "segments"),
    (initializer([1], type: 99, field(9, four)), .unsupported, "type 99"),
    (initializer([1], type: -1, field(9, four)), .unsupported, "type -1"),
    (initializer([1], type: 8, field(6, "text")), .unsupported, "string"),
    (initializer([2], type: 3, field(5, [1, 200, 1])), .malformed, "holds 200"),
    (initializer([1], type: 9, field(9, [2])), .malformed, "\"w\": holds 2"),
    (initializer([1], type: 9, field(5, [2])), .malformed, "\"w\": holds 2"),
    (initializer([1], type: 13, field(11, varint(.max))), .unsupported, "beyond int64"),
    (initializer([1], type: 12, field(11, varint(1 << 32))), .malformed, "uint32"),
    (initializer([1], type: 10, field(5, varint(1 << 16))), .malformed, "float16"),
    (
      model(field(5, tensor([1], field(9, four))) + field(5, tensor([1], field(9, four)))),
      .malformed, "\"w\" is given twice"
    ),
    // Attributes.
    (attribute([]), .malformed, "the node of \"y\", attribute \"a\": there is no value"),
    (attribute(number(20, 4)), .malformed, "no value"),
    (attribute(number(20, 99)), .malformed, "no value"),
    (attribute(number(20, 1) + number(3, 1)), .malformed, "the type is 1"),
    (attribute(number(3, 1) + field(4, "b")), .malformed, "two values"),
    (attribute(field(7, [1, 2, 3])), .malformed, "elements of 4 bytes"),
    (
      model(
        field(1, field(5, field(1, "a") + number(3, 1)) + field(5, field(1, "a") + number(3, 1)))),
      .malformed, "attribute \"a\" is given twice"
    ),
  ])
  func refuses(file: [UInt8], code: FileError.Code, reason: String) throws {
    try withFolder { folder in
      try write(file, to: folder + "/a")
      expectError(code, reason) {
        for tensor in try ONNXModel.read(folder + "/a").graph.initializers { _ = try tensor.read() }
      }
    }
  }

  @Test func readsWhatIsUnusual() throws {
    try withFolder { folder in
      let path = folder + "/a"
      // Data in several packed pieces, and piece by piece.
      let pieces = Self.field(4, Self.four + Self.four) + [0x25] + Self.four
      try write(Self.initializer([3], pieces), to: path)
      #expect(
        try ONNXModel.read(path).graph.initializers[0].read() == Tensor([1, 1, 1] as [Float]))
      // Unknown fields of every wire type; an empty typed field besides raw data.
      let unknown: [UInt8] =
        [0xf8, 0x07, 0x01] + [0xf9, 0x07, 1, 2, 3, 4, 5, 6, 7, 8] + [0xfa, 0x07, 0x01, 0x00]
        + [0xfd, 0x07, 1, 2, 3, 4]
      let data = unknown + Self.field(9, Self.four) + Self.field(4, [])
      try write(unknown + Self.initializer([1, 1], data), to: path)
      #expect(
        try ONNXModel.read(path).graph.initializers[0].read()
          == Tensor([1] as [Float], shape: [1, 1]))
      // A dimension of −1, an attribute without its type and one without its value.
      let info = Self.field(1, Self.field(2, Self.field(1, Self.number(1, -1))) + Self.number(1, 1))
      let node =
        Self.field(5, Self.field(1, "a") + Self.number(3, -7))
        + Self.field(5, Self.field(1, "b") + Self.number(20, 7))
      let graph = Self.field(11, Self.field(1, "x") + Self.field(2, info)) + Self.field(1, node)
      try write(Self.model(graph), to: path)
      let read = try ONNXModel.read(path).graph
      #expect(read.inputs == [ONNXValueInfo("x", .tensor(.float, [.unknown]))])
      guard case .int(-7) = read.nodes[0]["a"], case .ints([]) = read.nodes[0]["b"] else {
        Issue.record("\(read.nodes[0])")
        return
      }
    }
  }

  @Test func deepNestingIsRefused() throws {
    try withFolder { folder in
      // Graph, node, attribute, graph …, put together from the inside, backwards.
      for (levels, isRead) in [(30, true), (10_000, false)] {
        var backwards: [UInt8] = []
        for level in 0..<levels {
          for number in (level == 0 ? [1] : [6, 5, 1] as [UInt64]) {
            let length = Self.varint(UInt64(backwards.count))
            backwards += (Self.varint(number << 3 | 2) + length).reversed()
            if number == 6 { backwards += Self.field(1, "a").reversed() }
          }
        }
        try write(Self.model(backwards.reversed()), to: folder + "/a")
        if isRead {
          try readEverything(folder + "/a")
        } else {
          expectError(.malformed, "nested") { try readEverything(folder + "/a") }
        }
      }
    }
  }

  @Test func holesPromiseNothing() throws {
    try withFolder { folder in
      let path = folder + "/a"
      let size = 1 << 41
      // A name of two terabytes.
      try write([0x12] + Self.varint(UInt64(size) - 7), to: path)
      try #require(truncate(path, size) == 0)
      expectError(.tooLarge, "what is not tensors") { try readEverything(path) }
      // A tensor of two terabytes.
      let head = Self.field(8, Self.number(2, 20))
      let body = Self.number(1, Int64(size)) + Self.number(2, 2)
      func open(_ length: Int, _ number: UInt64) -> [UInt8] {
        Self.varint(number << 3 | 2) + Self.varint(UInt64(length))
      }
      let data = body + open(size, 9)
      let tensor = open(data.count + size, 5) + data
      let file = head + open(tensor.count + size, 7) + tensor
      try write(file, to: path)
      try #require(truncate(path, file.count + size) == 0)
      let read = try ONNXModel.read(path)
      expectError(.tooLarge, "this machine has") { _ = try read.graph.initializers[0].read() }
    }
  }

  static func external(_ entries: [String: String]) -> [UInt8] {
    initializer(
      [1],
      number(14, 1)
        + entries.flatMap { field(13, field(1, $0.key) + field(2, $0.value)) })
  }

  @Test func externalDataStayInsideTheFolder() throws {
    try withFolder { folder in
      try #require(mkdir(folder + "/in", 0o755) == 0 && mkdir(folder + "/in/sub", 0o755) == 0)
      try write(Self.four, to: folder + "/secret")
      try write(Self.four, to: folder + "/in/sub/data")
      try #require(symlink("../secret", folder + "/in/out") == 0)
      try #require(symlink("..", folder + "/in/up") == 0)
      try #require(symlink("sub/data", folder + "/in/link") == 0)
      let model = folder + "/in/a.onnx"
      func attempt(_ entries: [String: String]) throws -> Tensor {
        try write(Self.external(entries), to: model)
        return try #require(try ONNXModel.read(model).graph.initializers.first).read()
      }
      for location in ["sub/data", "./sub/data", "link", "sub//data"] {
        #expect(try attempt(["location": location]) == Tensor([1] as [Float]), "\(location)")
      }
      for location in [
        "../secret", folder + "/in/sub/data", "out", "up/secret", "sub/../../secret", "up",
        "sub/..",
        "\0", "sub/data\0",
      ] {
        expectError(.malformed, "not inside") { _ = try attempt(["location": location]) }
      }
      expectError(.missing, "\"w\": the external file \"none\"") {
        _ = try attempt(["location": "none"])
      }
      expectError(.unreadable) { _ = try attempt(["location": "sub"]) }
      expectError(.malformed, "location") { _ = try attempt([:]) }
      let wrong: [(String, String, FileError.Code)] = [
        ("offset", "1", .truncated), ("offset", "-1", .malformed), ("offset", "0x0", .malformed),
        ("offset", "9223372036854775807", .malformed), ("length", "5", .malformed),
        ("offset", "9223372036854775800", .truncated), ("length", "", .malformed),
      ]
      for (key, value, code) in wrong {
        expectError(code, "\"w\"") { _ = try attempt(["location": "link", key: value]) }
      }
      try write(Self.initializer([1], Self.number(14, 1) + Self.field(9, Self.four)), to: model)
      expectError(.malformed, "another") { _ = try ONNXModel.read(model) }
    }
  }
}
