public import ConvNetGraph

extension Model {
  /// The model with a new last layer for another number of classes, for fine-tuning on other data.
  ///
  ///     let model = try ModelFile.load(path).replacingHead(classes: 5, seed: 1)
  ///       .freezing(prefix: "layer1.")
  ///
  /// The head is the one dense layer or convolution that makes the output, with at most operations
  /// without parameters behind it, such as pooling or softmax. Its weight and bias keep their names, start
  /// anew and train, even where they were frozen; everything else stays, but the names of classes are
  /// gone.
  ///
  /// - Parameters:
  ///   - classes: the number of logits.
  ///   - initializer: how the new weight starts; a bias starts at 0.
  ///   - seed: the same seed gives the same numbers, bit for bit.
  /// - Throws: `GraphError` where the network has no such layer or several.
  public func replacingHead(
    classes: Int, initializer: Initializer = .he, seed: UInt64
  ) throws -> Model {
    let (graph, replaced) = try graph.replacingHead(classes: classes)
    var parameters = parameters
    for parameter in graph.parameterViews where replaced.contains(parameter.name) {
      parameters[parameter.name] = try initializer.values(
        name: parameter.name, role: parameter.role, shape: parameter.type.shape ?? [], seed: seed)
    }
    var model = try Model(graph: graph, parameters: parameters, state: state, metadata: metadata)
    model.classNames = []
    return model
  }
}
