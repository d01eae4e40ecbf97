import ConvNetFormats
import ConvNetGraph
import Testing

@Suite struct NpyTests {
  static func file(_ header: String, version: UInt8 = 1, _ data: [UInt8] = []) -> [UInt8] {
    let text = Array(header.utf8)
    let length = [UInt8(text.count & 255), UInt8(text.count >> 8)] + (version > 1 ? [0, 0] : [])
    return [0x93] + Array("NUMPY".utf8) + [version, 0] + length + text + data
  }

  @Test func roundTripKeepsEveryBit() throws {
    try withFolder { folder in
      for (name, tensor) in samples() {
        let path = "\(folder)/\(name).npy"
        try NpyFile.write(tensor, to: path)
        #expect(try NpyFile.read(path) == tensor, "\(name)")
        let data = try bytes(of: path)
        #expect((data.count - tensor.byteCount) % 64 == 0)
      }
      #expect(try names(in: folder).count == samples().count)
    }
  }

  @Test func headerIsWhatNumPyWrites() throws {
    try withFolder { folder in
      try NpyFile.write(Tensor([1, 2, 3] as [Float]), to: folder + "/a.npy")
      let text = "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }"
      let padded = text + String(repeating: " ", count: 128 - 10 - text.count - 1) + "\n"
      let data: [UInt8] = [0, 0, 128, 63, 0, 0, 0, 64, 0, 0, 64, 64]
      #expect(try bytes(of: folder + "/a.npy") == Self.file(padded, data))
    }
  }

  @Test func readsBigEndianFortranAndLaterVersions() throws {
    try withFolder { folder in
      let path = folder + "/a.npy"
      let big = "{'shape': (2,), 'fortran_order': False, 'descr': '>i4'}"
      for version in UInt8(1)...3 {
        try write(Self.file(big, version: version, [0, 0, 1, 2, 255, 255, 255, 255]), to: path)
        #expect(try NpyFile.read(path) == Tensor([258, -1] as [Int32]))
      }
      // [[0 1 2] [3 4 5]] by columns; then the same in three dimensions.
      let fortran = "{\"descr\": '|u1', \"fortran_order\": True, \"shape\": (2, 3), }\n"
      try write(Self.file(fortran, [0, 3, 1, 4, 2, 5]), to: path)
      #expect(try NpyFile.read(path) == Tensor([0, 1, 2, 3, 4, 5] as [UInt8], shape: [2, 3]))
      let cube = "{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3, 2)}"
      try write(Self.file(cube, (0..<12).map(UInt8.init)), to: path)
      let expected: [UInt8] = [0, 6, 2, 8, 4, 10, 1, 7, 3, 9, 5, 11]
      #expect(try NpyFile.read(path) == Tensor(expected, shape: [2, 3, 2]))
    }
  }

  @Test(arguments: [
    ("{'descr': '<f4', 'fortran_order': False}", FileError.Code.malformed),
    ("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': ()}", .malformed),
    ("{'descr': '<f2', 'fortran_order': False, 'shape': (2,)}", .unsupported),
    ("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", .unsupported),
    ("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", .unsupported),
    ("{'descr': '<f4', 'fortran_order': 0, 'shape': (1,)}", .malformed),
    ("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", .malformed),
    ("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}", .malformed),
    ("{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296)}", .malformed),
    ("{'descr': '<f8', 'fortran_order': False, 'shape': (72057594037927936,)}", .truncated),
    ("{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", .truncated),
    ("{'descr': '|u1', 'fortran_order': False, 'shape': (3,)}", .malformed),
    ("{'descr': '|b1', 'fortran_order': False, 'shape': (4,)}", .malformed),
    ("{'descr': '|u1', 'fortran_order': False, 'shape': (4,)} x", .malformed),
    ("__import__('os')", .malformed),
    ("{'descr': '|u1', 'fortran_order': False, 'shape': (4,", .malformed),
  ])
  func refuses(header: String, code: FileError.Code) throws {
    try withFolder { folder in
      try write(Self.file(header, [1, 2, 3, 4]), to: folder + "/a.npy")
      expectError(code) { _ = try NpyFile.read(folder + "/a.npy") }
    }
  }

  @Test func damagedFilesAreRefusedOrRead() throws {
    try withFolder { folder in
      try NpyFile.write(Tensor([1, 2, 3, 4] as [Float], shape: [2, 2]), to: folder + "/a.npy")
      try damage(try bytes(of: folder + "/a.npy"), in: folder) { _ = try NpyFile.read($0) }
      let big = "{'descr': '>f8', 'fortran_order': True, 'shape': (1, 2)}"
      try damage(
        Self.file(big, version: 2, (0..<16).map(UInt8.init)), in: folder
      ) { _ = try NpyFile.read($0) }
    }
  }
}
