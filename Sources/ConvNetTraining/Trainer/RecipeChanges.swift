/// Parts of a recipe, as a configuration or a command line gives them: what is nil stays as it is.
///
/// As JSON its keys are those of the properties. `Recipe` itself is coded as changes of everything.
public struct RecipeChanges: Hashable, Sendable, Codable {
  /// How parameters follow their gradients.
  public struct Optimizer: Hashable, Sendable, Codable {
    /// `sgd` or `adam`, with weight decay through the gradient; `sgdw` or `adamw`, with decoupled one.
    public var name: String?
    /// The largest learning rate.
    public var learningRate: Double?
    /// Of SGD: how much of the velocity survives a step.
    public var momentum: Double?
    /// Of SGD: whether the gradient is taken ahead of the velocity.
    public var nesterov: Bool?
    /// Of Adam: how much of the mean gradient survives a step.
    public var beta1: Double?
    /// Of Adam: how much of the mean squared gradient survives a step.
    public var beta2: Double?
    /// Of Adam: added to the root of the mean square.
    public var epsilon: Double?
    /// How strongly weights are pulled towards 0.
    public var weightDecay: Double?

    /// Changes nothing.
    public init() {}
  }

  /// The course of the learning rate.
  public struct Schedule: Hashable, Sendable, Codable {
    /// `constant`, `step`, `cosine` or `one-cycle`.
    public var name: String?
    /// Of `step`: epochs after which the rate is multiplied by `factor`.
    public var everyEpochs: Int?
    /// Of `step`: what the rate is multiplied by.
    public var factor: Double?
    /// Of `cosine`: the last rate as a fraction of the largest.
    public var floor: Double?
    /// Of `one-cycle`: the fraction of all steps during which the rate grows.
    public var rise: Double?
    /// Of `one-cycle`: the first rate as a fraction of the largest.
    public var start: Double?
    /// Of `one-cycle`: the last rate as a fraction of the largest.
    public var end: Double?

    /// Changes nothing.
    public init() {}
  }

  /// How gradients are made smaller: by one of the two, or not at all where it is 0.
  public struct Clipping: Hashable, Sendable, Codable {
    /// The largest Euclidean norm of all gradients.
    public var norm: Double?
    /// The largest element.
    public var value: Double?

    /// Changes nothing.
    public init() {}
  }

  /// How often all images are seen.
  public var epochs: Int?
  /// The images of a step.
  public var batchSize: Int?
  /// How parameters follow their gradients.
  public var optimizer: Optimizer?
  /// The course of the learning rate.
  public var schedule: Schedule?
  /// Steps during which the rate grows.
  public var warmUpSteps: Int?
  /// How much of the one-hot target is spread over all classes.
  public var labelSmoothing: Double?
  /// Changes of training images.
  public var augmentation: Augmentation?
  /// How gradients are made smaller.
  public var clipping: Clipping?
  /// The decay of the average of the weights; 0 for none.
  public var averageDecay: Double?
  /// Whether steps compute activations again to need less memory.
  public var checkpointing: Bool?
  /// What becomes of the samples that do not fill a batch: `keep`, `drop` or `merge`.
  public var remainder: RemainderPolicy?

  /// Changes nothing.
  public init() {}

  /// Everything that a recipe says.
  public init(_ recipe: Recipe) {
    epochs = recipe.epochs
    batchSize = recipe.batchSize
    optimizer = Optimizer(recipe.optimizer)
    schedule = Schedule(recipe.schedule)
    warmUpSteps = recipe.warmUpSteps
    labelSmoothing = recipe.labelSmoothing
    augmentation = recipe.augmentation
    clipping = recipe.clipping.map(Clipping.init)
    averageDecay = recipe.averageDecay
    checkpointing = recipe.checkpointing
    remainder = recipe.remainder
  }
}

extension Recipe {
  /// The recipe with some parts changed.
  ///
  /// An optimiser of the other family (SGD, Adam) or a course of another name begins with its own
  /// defaults. `sgd` and `sgdw` keep each other's numbers, and so do `adam` and `adamw`.
  ///
  /// - Throws: `TrainingError` where there is no such name, or a number belongs to another one.
  public func changed(by changes: RecipeChanges) throws -> Recipe {
    var recipe = self
    recipe.epochs = changes.epochs ?? epochs
    recipe.batchSize = changes.batchSize ?? batchSize
    recipe.optimizer = try changes.optimizer?.applied(to: optimizer) ?? optimizer
    recipe.schedule = try changes.schedule?.applied(to: schedule) ?? schedule
    recipe.warmUpSteps = changes.warmUpSteps ?? warmUpSteps
    recipe.labelSmoothing = changes.labelSmoothing ?? labelSmoothing
    recipe.augmentation = changes.augmentation ?? augmentation
    if let clipping = changes.clipping { recipe.clipping = try clipping.made() }
    if let decay = changes.averageDecay { recipe.averageDecay = decay == 0 ? nil : decay }
    recipe.checkpointing = changes.checkpointing ?? checkpointing
    recipe.remainder = changes.remainder ?? remainder
    return recipe
  }
}

extension Recipe: Codable {
  /// Reads a recipe; epochs and optimiser have to be there.
  ///
  /// - Throws: `DecodingError` or `TrainingError`.
  public init(from decoder: any Decoder) throws {
    let changes = try RecipeChanges(from: decoder)
    guard let epochs = changes.epochs, changes.optimizer?.name != nil else {
      throw TrainingError(.invalidOption, "a recipe lacks its epochs or the name of its optimizer")
    }
    self = try Recipe(epochs: epochs, optimizer: .sgd(SGD(learningRate: 0.05)))
      .changed(by: changes)
  }

  /// Writes everything.
  ///
  /// - Throws: `EncodingError` as the encoder throws it.
  public func encode(to encoder: any Encoder) throws { try RecipeChanges(self).encode(to: encoder) }
}

// MARK: Parts

extension RecipeChanges.Optimizer {
  /// The names there are.
  public static let names = ["sgd", "sgdw", "adam", "adamw"]

  init(_ optimizer: Optimizer) {
    name = optimizer.name
    learningRate = optimizer.learningRate
    weightDecay = optimizer.weightDecay.coupledRate + optimizer.weightDecay.decoupledRate
    switch optimizer {
    case .sgd(let sgd): (momentum, nesterov) = (sgd.momentum, sgd.nesterov)
    case .adam(let adam): (beta1, beta2, epsilon) = (adam.beta1, adam.beta2, adam.epsilon)
    }
  }

  func applied(to old: Optimizer) throws -> Optimizer {
    let name = name ?? old.name
    guard Self.names.contains(name) else {
      throw TrainingError.unknown(name, among: Self.names, as: "optimizer")
    }
    let isAdam = name.hasPrefix("adam")
    try TrainingError.refuse(
      isAdam
        ? ["momentum": momentum != nil, "nesterov": nesterov != nil]
        : ["beta1": beta1 != nil, "beta2": beta2 != nil, "epsilon": epsilon != nil],
      with: name)
    let isSameKind = old.name.hasPrefix("adam") == isAdam
    let usual = name == "adamw" ? 0.01 : 0
    let strength =
      weightDecay
      ?? (isSameKind ? old.weightDecay.coupledRate + old.weightDecay.decoupledRate : usual)
    let decay: WeightDecay =
      strength == 0 ? .none : name.hasSuffix("w") ? .decoupled(strength) : .coupled(strength)
    if isAdam {
      var adam = if case .adam(let adam) = old { adam } else { Adam() }
      adam.learningRate = learningRate ?? adam.learningRate
      adam.beta1 = beta1 ?? adam.beta1
      adam.beta2 = beta2 ?? adam.beta2
      adam.epsilon = epsilon ?? adam.epsilon
      adam.weightDecay = decay
      return .adam(adam)
    }
    var sgd = if case .sgd(let sgd) = old { sgd } else { SGD(learningRate: 0.05, nesterov: true) }
    sgd.learningRate = learningRate ?? sgd.learningRate
    sgd.momentum = momentum ?? sgd.momentum
    sgd.nesterov = nesterov ?? sgd.nesterov
    sgd.weightDecay = decay
    return .sgd(sgd)
  }
}

extension Optimizer {
  /// The name in a configuration.
  public var name: String {
    let base = if case .sgd = self { "sgd" } else { "adam" }
    return if case .decoupled = weightDecay { base + "w" } else { base }
  }
}

extension RecipeChanges.Schedule {
  init(_ course: RateCourse) {
    name = course.name
    switch course {
    case .constant: break
    case .step(let everyEpochs, let factor): (self.everyEpochs, self.factor) = (everyEpochs, factor)
    case .cosine(let floor): self.floor = floor
    case .oneCycle(let rise, let start, let end):
      (self.rise, self.start, self.end) = (rise, start, end)
    }
  }

  func applied(to old: RateCourse) throws -> RateCourse {
    let name = name ?? old.name
    guard let known = RateCourse.known.first(where: { $0.name == name }) else {
      throw TrainingError.unknown(name, among: RateCourse.known.map(\.name), as: "schedule")
    }
    let base = old.name == name ? old : known
    var given = [
      "every_epochs": everyEpochs != nil, "factor": factor != nil, "floor": floor != nil,
      "rise": rise != nil, "start": start != nil, "end": end != nil,
    ]
    let result: RateCourse
    switch base {
    case .constant: result = .constant
    case .step(let oldEvery, let oldFactor):
      for key in ["every_epochs", "factor"] { given[key] = false }
      result = .step(everyEpochs: everyEpochs ?? oldEvery, factor: factor ?? oldFactor)
    case .cosine(let oldFloor):
      given["floor"] = false
      result = .cosine(floor: floor ?? oldFloor)
    case .oneCycle(let oldRise, let oldStart, let oldEnd):
      for key in ["rise", "start", "end"] { given[key] = false }
      result = .oneCycle(rise: rise ?? oldRise, start: start ?? oldStart, end: end ?? oldEnd)
    }
    try TrainingError.refuse(given, with: name)
    return result
  }
}

extension RecipeChanges.Clipping {
  init(_ clipping: GradientClipping) {
    switch clipping {
    case .norm(let norm): self.norm = norm
    case .value(let value): self.value = value
    }
  }

  func made() throws -> GradientClipping? {
    switch (norm, value) {
    case (0?, nil), (nil, 0?), (nil, nil): nil
    case (let norm?, nil): .norm(norm)
    case (nil, let value?): .value(value)
    case (_?, _?):
      throw TrainingError(.invalidOption, "gradients are clipped to a norm or to a value, not both")
    }
  }
}

extension TrainingError {
  fileprivate static func unknown(
    _ name: String, among known: [String], as what: String
  ) -> TrainingError {
    TrainingError(
      .invalidOption,
      "there is no \(what) “\(name)”; there are \(known.joined(separator: ", "))")
  }

  /// Refuses numbers that belong to something of another name.
  fileprivate static func refuse(_ given: [String: Bool], with name: String) throws {
    guard let key = given.filter(\.value).keys.sorted().first else { return }
    throw TrainingError(.invalidOption, "\(name) has no \(key)")
  }
}
