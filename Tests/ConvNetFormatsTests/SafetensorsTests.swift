import ConvNetFormats
import ConvNetGraph
import Testing

@Suite struct SafetensorsTests {
  static func file(_ header: String, _ data: [UInt8] = []) -> [UInt8] {
    let text = Array(header.utf8)
    return (0..<8).map { UInt8(truncatingIfNeeded: text.count >> (8 * $0)) } + text + data
  }

  @Test func roundTripKeepsEveryBit() throws {
    try withFolder { folder in
      let path = folder + "/a.safetensors"
      let metadata = ["license": "CC0", "ключ \"quoted\"\\\n\u{1}": "значение 🙂", "": ""]
      try SafetensorsFile.write(samples(), metadata: metadata, to: path)
      let file = try SafetensorsFile.open(path)
      #expect(file.metadata == metadata)
      #expect(file.entries.map(\.name).sorted() == samples().keys.sorted())
      #expect(try file.readAll() == samples())
      #expect(try file.read("scalar") == samples()["scalar"])
      let first = try bytes(of: path)
      try SafetensorsFile.write(samples(), metadata: metadata, to: path)
      #expect(try bytes(of: path) == first, "the same contents give the same bytes")
      #expect(first[0] % 8 == 0, "the data begin at a multiple of 8")
      try SafetensorsFile.write([:], to: path)
      #expect(try SafetensorsFile.open(path).entries.isEmpty)
    }
  }

  @Test func narrowFloatsAreWidened() throws {
    try withFolder { folder in
      let header = #"""
        {"b":{"dtype":"BF16","shape":[3],"data_offsets":[0,6]},
        "h":{"dtype":"F16","data_offsets":[6,22],"shape":[2,4]}}
        """#
      let halves: [UInt16] = [0x3c00, 0xc000, 0x7bff, 0x0001, 0x03ff, 0x8000, 0xfc00, 0x3555]
      let words: [UInt16] = [0x3f80, 0xc049, 0x7f80] + halves
      let data = words.flatMap { [UInt8($0 & 255), UInt8($0 >> 8)] }
      try write(Self.file(header, data), to: folder + "/a")
      let tensors = try SafetensorsFile.open(folder + "/a").readAll()
      #expect(tensors["b"] == Tensor([1, -3.140625, .infinity] as [Float]))
      let expected: [Float] = [
        1, -2, 65504, 0x1p-24, 0x1.ff8p-15, -0.0, -.infinity, 0.333251953125,
      ]
      #expect(tensors["h"] == Tensor(expected, shape: [2, 4]))
    }
  }

  static func one(_ type: String, _ shape: String, _ offsets: String) -> String {
    #"{"a":{"dtype":"\#(type)","shape":\#(shape),"data_offsets":\#(offsets)}}"#
  }

  @Test(arguments: [
    (one("F32", "[1]", "[0,8]"), FileError.Code.malformed),
    (one("F32", "[2]", "[1,9]"), .malformed),
    (one("F32", "[1]", "[0,4]"), .malformed),
    (one("F32", "[4]", "[0,16]"), .truncated),
    (one("F32", "[-2]", "[0,8]"), .malformed),
    (one("F32", "[2.0]", "[0,8]"), .malformed),
    (one("F32", "[02]", "[0,8]"), .malformed),
    (one("F32", "[4294967296,4294967296]", "[0,8]"), .malformed),
    (one("F32", "[18446744073709551618]", "[0,8]"), .malformed),
    (one("F32", "[2]", "[8,0]"), .malformed),
    (one("F32", "[2]", "[0,8,8]"), .malformed),
    (one("F33", "[2]", "[0,8]"), .malformed),
    (one("BOOL", "[8]", "[0,8]"), .malformed),
    (one("I16", "[4]", "[0,8]"), .unsupported),
    (one("F32", "[2]", "[0,9223372036854775807]"), .malformed),
    (#"{"a":{"dtype":"F32","shape":[2]}}"#, .malformed),
    (#"{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, .malformed),
    (
      #"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"#
        + #""a":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}"#, .malformed
    ),
    (
      #"{"a":{"dtype":"U8","shape":[5],"data_offsets":[0,5]},"#
        + #""b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}"#, .malformed
    ),
    (
      #"{"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"#
        + #""b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}"#, .malformed
    ),
    // Overlapping by an element in the file's order and against it, the same bytes twice, and a hole.
    (
      #"{"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]},"#
        + #""a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, .malformed
    ),
    (
      #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"#
        + #""b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, .malformed
    ),
    (
      #"{"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"#
        + #""b":{"dtype":"U8","shape":[0],"data_offsets":[4,4]}}"#, .malformed
    ),
    // Names that are the same once their escapes are read.
    (
      #"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"#
        + #""\u0061":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}"#, .malformed
    ),
    (one("F32", "[2]", "[-8,0]"), .malformed),
    (one("F32", "[2]", "[9223372036854775800,9223372036854775808]"), .malformed),
    (one("F32", "[2]", "[18446744073709551608,18446744073709551616]"), .malformed),
    (one("F64", "[1152921504606846976]", "[0,8]"), .malformed),
    (#"{"__metadata__":{},"__metadata__":{}}"#, .malformed),
    (#"{"__metadata__":{"a":1}}"#, .malformed),
    (#"{"__metadata__":{"a":"1","a":"2"}}"#, .malformed),
    (#"{"__metadata__":{"a":"\ud800"}}"#, .malformed),
    (#"{"__metadata__":{"a":"\q"}}"#, .malformed),
    ("{\"__metadata__\":{\"a\":\"\n\"}}", .malformed),
    (String(repeating: "{\"a\":", count: 50_000), .malformed),
    ("[]", .mismatched), ("", .mismatched), ("{}", .malformed), ("{} {}", .malformed),
    ("{,}", .malformed),
  ])
  func refuses(header: String, code: FileError.Code) throws {
    try withFolder { folder in
      try write(Self.file(header, [1, 0, 2, 0, 1, 0, 1, 0]), to: folder + "/a")
      expectError(code) { _ = try SafetensorsFile.open(folder + "/a").readAll() }
    }
  }

  @Test func refusesLengthsBeyondTheFile() throws {
    try withFolder { folder in
      let path = folder + "/a"
      for (length, code) in [
        (UInt64.max, FileError.Code.mismatched), (1 << 63, .mismatched), (1 << 63 - 8, .mismatched),
        (100_000_001, .mismatched),
        (99_999_999, .truncated),
      ] {
        let start = (0..<8).map { UInt8(truncatingIfNeeded: length >> (8 * $0)) }
        try write(start + Array("{}".utf8), to: path)
        expectError(code) { _ = try SafetensorsFile.open(path) }
      }
      expectError(.missing, "no such file") { _ = try SafetensorsFile.open(folder + "/b") }
      expectError(.unreadable, "folder") { _ = try SafetensorsFile.open(folder) }
      expectError(.unreadable, "regular") { _ = try SafetensorsFile.open("/dev/zero") }
      expectError(.missing) { _ = try SafetensorsFile.open("") }
      expectError(.missing) { _ = try SafetensorsFile.open("/dev/null\0x") }
      try write(Self.file("{}"), to: path)
      expectError(.mismatched, "no tensor") { _ = try SafetensorsFile.open(path).read("a") }
    }
  }

  @Test func damagedFilesAreRefusedOrRead() throws {
    try withFolder { folder in
      let path = folder + "/a"
      let tensors = ["a": Tensor([1, 2] as [Float]), "b": Tensor([true, false])]
      try SafetensorsFile.write(tensors, metadata: ["k": "v\\é"], to: path)
      try damage(try bytes(of: path), in: folder) { _ = try SafetensorsFile.open($0).readAll() }
    }
  }
}
