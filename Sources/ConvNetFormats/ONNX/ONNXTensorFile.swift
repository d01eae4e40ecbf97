package import ConvNetGraph

/// One tensor as a file (TensorProto), as ONNX's tests hold inputs and outputs.
package enum ONNXTensorFile {
  /// Opens a file; the data are read by the tensor's `read(permutedBy:)`.
  ///
  /// - Throws: `FileError`.
  package static func open(_ path: String) throws -> ONNXTensor {
    var reader = ProtobufReader(try FileReader(path))
    return try ONNXTensor(&reader)
  }

  /// Reads a tensor and its name.
  ///
  /// - Throws: `FileError`.
  package static func read(_ path: String) throws -> (name: String, tensor: Tensor) {
    let tensor = try open(path)
    return (tensor.name, try tensor.read())
  }

  /// Writes a tensor, atomically.
  ///
  /// - Throws: `FileError`; the previous file is intact then.
  package static func write(_ name: String, _ tensor: Tensor, to path: String) throws {
    let message = try ONNXEncoder(path: path).tensor(ONNXTensor(name, tensor))
    try AtomicFile.write(to: path) { try message.write(to: $0) }
  }
}
