package import ConvNetGraph

/// One tensor as a file (TensorProto), as ONNX's tests hold inputs and outputs.
package enum ONNXTensorFile {
  /// Reads a tensor and its name.
  ///
  /// - Throws: `FileError`.
  package static func read(_ path: String) throws -> (name: String, tensor: Tensor) {
    var reader = ProtobufReader(try FileReader(path))
    let tensor = try ONNXTensor(&reader)
    return (tensor.name, try tensor.read())
  }
}
