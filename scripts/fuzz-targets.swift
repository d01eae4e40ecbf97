// One function that libFuzzer calls with bytes it makes up, for every reader: scripts/fuzz.
//
// The bytes become a file in a folder of their own, and the reader opens that. Whatever it throws has
// to be a `FileError`; everything else, a trap, an address that is not ours, memory or time without
// end, libFuzzer and its sanitizers report, with the bytes.

import ConvNetFormats
import ConvNetGraph
import ConvNetImages
import Glibc

/// A reader by name, and files as it reads them, for libFuzzer to begin with.
private struct Target: Sendable {
  let read: @Sendable (String) throws -> Void
  let writeSeeds: @Sendable (String) throws -> Void
}

private let targets: [String: Target] = [
  "onnx": Target(read: readONNX, writeSeeds: writeONNX),
  "import": Target(read: { _ = try ONNXFile.load($0) }, writeSeeds: writeNetwork),
  "safetensors": Target(
    read: { _ = try SafetensorsFile.open($0).readAll() },
    writeSeeds: { try SafetensorsFile.write(samples, metadata: ["a": "b"], to: $0 + "/seed") }),
  "npy": Target(
    read: { _ = try NpyFile.read($0) },
    writeSeeds: { folder in
      for (name, tensor) in samples { try NpyFile.write(tensor, to: "\(folder)/\(name)") }
    }),
  "cifar": Target(read: readCIFAR, writeSeeds: writeCIFAR),
  "idx": Target(read: { _ = try IDX.read($0) }, writeSeeds: writeIDX),
  "model": Target(read: { _ = try ModelFile.load($0) }, writeSeeds: writeModel),
  "checkpoint": Target(read: readCheckpoint, writeSeeds: writeCheckpoint),
  "images": Target(read: readImage, writeSeeds: writeImages),
]

/// The folder, the descriptor of the file in it that is read, and its reader.
private let place: (folder: String, descriptor: Int32, target: Target) = {
  let name = environment("CONVNET_FUZZ_TARGET")
  guard let target = targets[name] else {
    fatalError("CONVNET_FUZZ_TARGET is “\(name)”; known: \(targets.keys.sorted())")
  }
  let folder = environment("CONVNET_FUZZ_FOLDER")
  let descriptor = open(folder + "/input", O_RDWR | O_CREAT, 0o644)
  guard descriptor >= 0 else { fatalError("\(folder)/input cannot be written.") }
  return (folder, descriptor, target)
}()

private func environment(_ name: String) -> String {
  getenv(name).map { String(cString: $0) } ?? ""
}

/// With CONVNET_FUZZ_SEEDS, writes seeds there and ends.
@_cdecl("LLVMFuzzerInitialize")
public func initialize(
  _ count: UnsafeMutableRawPointer, _ arguments: UnsafeMutableRawPointer
) -> CInt {
  let seeds = environment("CONVNET_FUZZ_SEEDS")
  guard !seeds.isEmpty else { return 0 }
  do { try place.target.writeSeeds(seeds) } catch { fatalError("\(error)") }
  _exit(0)
}

/// Reads the bytes as a file.
@_cdecl("LLVMFuzzerTestOneInput")
public func test(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  guard ftruncate(place.descriptor, count) == 0, pwrite(place.descriptor, bytes, count, 0) == count
  else { fatalError("The file cannot be written.") }
  do { try place.target.read(place.folder + "/input") } catch is FileError {
  } catch { fatalError("not a FileError: \(error)") }
  return 0
}

// MARK: Readers

private func readONNX(_ path: String) throws {
  do { _ = try ONNXTensorFile.read(path) } catch is FileError {}
  func read(_ graph: ONNXGraph) throws {
    for tensor in graph.initializers {
      let axes = Array((0..<tensor.shape.rank).reversed())
      do { _ = try tensor.read(permutedBy: axes) } catch is FileError {}
    }
    for attribute in graph.nodes.flatMap(\.attributes) {
      switch attribute.value {
      case .tensor(let tensor): do { _ = try tensor.read() } catch is FileError {}
      case .graph(let inner): try read(inner)
      default: break
      }
    }
  }
  try read(try ONNXModel.read(path).graph)
}

private func readCIFAR(_ path: String) throws {
  for labels in CIFAR.Labels.allCases {
    do { _ = try CIFAR.read([path, path], labels: labels) } catch is FileError {}
  }
  // The same bytes as names, of a folder that has nothing else.
  let folder = String(path.dropLast("/input".count))
  let link = folder + "/batches.meta.txt"
  guard access(link, F_OK) == 0 || symlink(path, link) == 0 else {
    fatalError("\(link) cannot be written.")
  }
  _ = try CIFARFolder.load(folder)
}

private func readCheckpoint(_ path: String) throws {
  // Made-up bytes hardly ever have the right checksum; behind it is the rest of the reader.
  do { _ = try CheckpointFile.read(path) } catch is FileError {}
  let file = try CheckpointFile.read(path, verifies: false)
  _ = try JSONText.decode(JSONTree.self, from: file.record, of: path, part: "record")
}

private func readImage(_ path: String) throws {
  let file = try ImageFile(path, pixelLimit: 1 << 20)
  do { _ = try file.decode(channels: .grey, minimumSide: 4) } catch is FileError {}
  _ = try file.decode(channels: .rgb)
}

// MARK: Seeds

private let samples: [String: Tensor] = [
  "float32": Tensor([0, -1.5, .infinity, .nan, 2, 3] as [Float], shape: [2, 3]),
  "float64": Tensor([0.1, 0.2] as [Double]), "int64": Tensor([.min, .max] as [Int64]),
  "int32": Tensor([-1, 1] as [Int32], shape: [1, 2]), "uint8": Tensor([1, 2, 3] as [UInt8]),
  "bool": Tensor([true, false]), "scalar": Tensor(scalar: Float(1)),
]

private func writeONNX(to folder: String) throws {
  var inner = ONNXGraph()
  inner.nodes = [ONNXNode("Relu", inputs: ["y"], outputs: ["z"])]
  var model = ONNXModel()
  model.opsetImports = ["": 20]
  model.metadata = ["a": "b"]
  model.graph.inputs = [ONNXValueInfo("x", .tensor(.float, [.symbol("N"), .fixed(3), .unknown]))]
  model.graph.outputs = [ONNXValueInfo("y", .tensor(.float, nil))]
  model.graph.initializers = samples.map { ONNXTensor($0, $1) }
  model.graph.nodes = [
    ONNXNode(
      "Conv", name: "c", inputs: ["x", "float32"], outputs: ["y"],
      attributes: [
        ONNXAttribute("pads", .ints([1, 1])), ONNXAttribute("f", .float(1)),
        ONNXAttribute("fs", .floats([1, 2])), ONNXAttribute("s", .string("SAME_UPPER")),
        ONNXAttribute("ss", .strings(["a"])), ONNXAttribute("i", .int(-1)),
        ONNXAttribute("value", .tensor(ONNXTensor("", Tensor([1, 2] as [Int64])))),
        ONNXAttribute("then_branch", .graph(inner)),
      ])
  ]
  try model.write(to: folder + "/model")
  try ONNXTensorFile.write("a", Tensor([1, 2] as [Float]), to: folder + "/tensor")
  // The second file of it lies where the fuzzed one looks for it.
  model.graph.initializers = [ONNXTensor("w", Tensor(zeros: [20, 20]))]
  try model.write(to: place.folder + "/input", limit: 0)
  guard rename(place.folder + "/input", folder + "/external") == 0 else {
    fatalError("\(folder)/external cannot be written.")
  }
}

/// A network with extents that are computed, and one with a branch for each of many operators.
private func writeNetwork(to folder: String) throws {
  var model = ONNXModel()
  model.opsetImports = ["": 18]
  model.graph.name = "network"
  model.graph.inputs = [
    ONNXValueInfo("x", .tensor(.float, [.symbol("N"), .fixed(2), .fixed(6), .fixed(6)]))
  ]
  model.graph.outputs = [ONNXValueInfo("y", .tensor(.float, nil))]
  let rows = ["scale", "shift", "mean", "variance"].map { ONNXTensor($0, Tensor(zeros: [3])) }
  model.graph.initializers =
    rows + [
      ONNXTensor("filter", Tensor(zeros: [3, 2, 3, 3])), ONNXTensor("w", Tensor(zeros: [12, 4])),
      ONNXTensor("zero", Tensor(scalar: Int64(0))), ONNXTensor("axes", Tensor([0] as [Int64])),
      ONNXTensor("rest", Tensor([-1] as [Int64])),
    ]
  func node(_ type: String, _ inputs: [String], _ output: String, _ ints: [String: [Int64]] = [:])
    -> ONNXNode
  {
    let attributes = ints.sorted { $0.key < $1.key }.map { ONNXAttribute($0.key, .ints($0.value)) }
    return ONNXNode(type, inputs: inputs, outputs: [output], attributes: attributes)
  }
  let head = [
    node("Conv", ["x", "filter"], "c", ["pads": [0, 0, 0, 0], "strides": [1, 1]]),
    node("BatchNormalization", ["c"] + rows.map(\.name), "n"), node("Relu", ["n"], "r"),
    node("MaxPool", ["r"], "p", ["kernel_shape": [2, 2], "strides": [2, 2]]),
  ]
  let tail = [
    node("Shape", ["p"], "shape"), node("Gather", ["shape", "zero"], "batch"),
    node("Unsqueeze", ["batch", "axes"], "first"), node("Concat", ["first", "rest"], "extents"),
    node("Reshape", ["p", "extents"], "flat"), node("MatMul", ["flat", "w"], "y"),
  ].map { node in
    var node = node
    if node.opType == "Concat" { node.attributes = [ONNXAttribute("axis", .int(0))] }
    return node
  }
  model.graph.nodes = head + tail
  try model.write(to: folder + "/network")
  // Each operator of one input between the network's head and its end.
  for type in [
    "Relu", "Clip", "Elu", "Softmax", "Sigmoid", "GlobalAveragePool", "AveragePool", "Flatten",
    "Transpose", "ReduceMean", "Squeeze", "Dropout", "Identity", "DepthToSpace", "LRN", "Split",
    "Shape", "Cast", "Pad", "Slice", "Expand", "Resize", "Tile", "InstanceNormalization",
    "LayerNormalization", "Where", "ConstantOfShape", "Range", "Gather", "ConvTranspose", "Gemm",
  ] {
    var ints: [String: [Int64]] = ["axes": [1], "perm": [0, 2, 3, 1], "kernel_shape": [2, 2]]
    ints["pads"] = type == "Pad" ? nil : [1, 0, 1, 0]
    model.graph.nodes = head + [node(type, ["p", "axes", "rest", "axes"], "y", ints)]
    try model.write(to: "\(folder)/\(type)")
  }
}

private func writeIDX(to folder: String) throws {
  // A matrix of bytes, a vector of floats, and the first as gzip stores it.
  let matrix: [UInt8] = [0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6]
  let floats: [UInt8] = [0, 0, 13, 1, 0, 0, 0, 1, 63, 128, 0, 0]
  let length = UInt8(matrix.count)
  let checksum: [UInt8] = [0, 0, 0, 0]
  let gzip: [UInt8] =
    [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1, length, 0, ~length, 255] + matrix + checksum
    + [length, 0, 0, 0]
  for (name, bytes) in [("matrix", matrix), ("floats", floats), ("gzip", gzip)] {
    try AtomicFile.write(to: "\(folder)/\(name)") { try $0.append(bytes) }
  }
}

private func writeCIFAR(to folder: String) throws {
  let picture = (0..<3072).map { UInt8(truncatingIfNeeded: $0) }
  let names = Array(CIFARFolder.classNames.joined(separator: "\n").utf8)
  for (name, bytes) in [("ten", [9] + picture), ("hundred", [19, 99] + picture), ("names", names)] {
    try AtomicFile.write(to: "\(folder)/\(name)") { try $0.append(bytes) }
  }
}

private func writeCheckpoint(to folder: String) throws {
  let model = try smallModel()
  let record = #"{"stepCount":3,"state":{"seconds":0.5,"reports":[]}}"#
  for (name, average) in [("plain", nil), ("average", model)] {
    try CheckpointFile(
      model: model, average: average,
      tensors: ["moment/velocity/a": Tensor([1, 2] as [Float])], record: record
    ).write(to: "\(folder)/\(name)")
  }
}

/// Those of JPEG are in Tests/Fixtures/Images.
private func writeImages(to folder: String) throws {
  for channels in [1, 3] {
    let bytes = (0..<(9 * 7 * channels)).map { UInt8($0) }
    let image = PixelImage(height: 9, width: 7, channels: channels, bytes: bytes)
    try AtomicFile.write(to: "\(folder)/\(channels)") { try $0.append(image.pngBytes()) }
  }
}

private func writeModel(to folder: String) throws {
  try ModelFile.save(smallModel(), to: folder + "/model")
}

private func smallModel() throws -> Model {
  let graph = try Graph(input: .image(height: 6, width: 6, channels: 2)) { x in
    x.convolution(3, kernel: 3, bias: false).batchNormalization().relu().maxPooling(kernel: 2)
      .flatten()
      .dense(4).softmax()
  }
  var parameters: [String: Tensor] = [:]
  for parameter in graph.parameterViews {
    parameters[parameter.name] = parameter.type.shape.map { Tensor(zeros: $0) }
  }
  return try Model(
    graph: graph, parameters: parameters, state: Model.initialState(of: graph))
}
