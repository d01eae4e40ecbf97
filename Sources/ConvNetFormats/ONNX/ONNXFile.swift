public import ConvNetGraph

/// Models in the ONNX format (https://onnx.ai), which PyTorch, Keras and PaddlePaddle export.
///
///     let model = try ONNXFile.load("resnet18.onnx")
///     let predictor = try Predictor(model)
///
/// Inputs and outputs keep the file's names and layout, channels first; inside, convolutions run channels
/// last, and no transpose is left between them. Batch-norm layers keep their running statistics and can
/// be trained further.
public enum ONNXFile {
  /// Reads a model.
  ///
  /// - Parameters:
  ///   - path: the file; tensors it keeps outside have to be in its own folder.
  ///   - inputShapes: shapes of inputs by name, where extents are to be fixed that the file leaves open.
  ///   - values: values of inputs by name that have to be known when a plan is made, such as the shape
  ///     that a reshape takes; these are no inputs of the model then.
  /// - Throws: `FileError`; what the model uses and this package lacks is listed all together, by node.
  public static func load(
    _ path: String, inputShapes: [String: Shape] = [:], values: [String: Tensor] = [:]
  ) throws -> Model {
    try load(ONNXModel.read(path), inputShapes: inputShapes, values: values)
  }

  /// Makes a model of what a file describes.
  package static func load(
    _ source: ONNXModel, inputShapes: [String: Shape] = [:], values: [String: Tensor] = [:]
  ) throws -> Model {
    let faithful: Model
    do {
      faithful = try ONNXImporter(source).model(inputShapes: inputShapes, values: values)
    } catch let error as FileError where error.code == .unsupported && !values.isEmpty {
      // Arithmetic on integers may lead to a shape: then all of them are built in.
      faithful = try ONNXImporter(source).model(
        inputShapes: inputShapes, values: values, buildsIntegersIn: true)
    }
    do {
      return try SettleParameters().apply(to: MoveTransposes().apply(to: faithful))
    } catch let error as GraphError {
      throw FileError(.malformed, "\(error)", at: source.path)
    }
  }

  /// Writes a model, atomically.
  ///
  /// Names, shapes and layouts of inputs and outputs stay the model's own; in between, values are channels
  /// first, as ONNX has them, and no transposes are needed for that. Conventions and switches of
  /// batch-norm layers travel in the metadata, so that a model that is read again trains on as before.
  ///
  /// - Parameters:
  ///   - model: the model, unfused and before any gradient.
  ///   - path: the file; tensors of more than 2 GiB go into a second one beside it.
  ///   - mode: whether batch norm normalises by running statistics and dropout does nothing, or both work
  ///     as in training; frozen layers use running statistics then, too.
  /// - Throws: `FileError` listing the operations that ONNX does not have; the previous file is intact then.
  public static func save(
    _ model: Model, to path: String, mode: ExecutionMode = .inference
  ) throws {
    let exported: ONNXModel
    do {
      exported = try ONNXExporter(model, isTraining: mode == .training).export()
    } catch let error as GraphError {
      throw FileError(.unsupported, "\(error)", at: path)
    }
    try exported.write(to: path)
  }

  /// The names of a model's inputs, in the file's order.
  ///
  /// - Throws: `FileError`.
  public static func inputNames(_ path: String) throws -> [String] {
    let graph = try ONNXModel.read(path).graph
    let stored = Set(graph.initializers.map(\.name))
    return graph.inputs.map(\.name).filter { !stored.contains($0) }
  }
}
