import ConvNetFormats
import ConvNetGraph
import ConvNetTraining
import Testing

/// Recipes as JSON, and as changes of other recipes.
@Suite struct RecipeChangesTests {
  private func decode(_ text: String, from base: Recipe? = nil) throws -> Recipe {
    guard let base else {
      return try JSONText.decode(
        Recipe.self, from: text, of: "file", part: "recipe", isForPeople: true)
    }
    return try base.changed(
      by: JSONText.decode(
        RecipeChanges.self, from: text, of: "file", part: "recipe", isForPeople: true))
  }

  static let recipes: [Recipe] = [
    Recipe(
      epochs: 7, batchSize: 96,
      optimizer: .sgd(SGD(learningRate: 0.1, momentum: 0.85, nesterov: true)),
      augmentation: .light, clipping: .norm(2), averageDecay: 0.999),
    Recipe(
      epochs: 1, optimizer: .sgd(SGD(learningRate: 0.3, weightDecay: .decoupled(1e-4))),
      labelSmoothing: 0.1, schedule: .step(everyEpochs: 3, factor: 0.5), warmUpSteps: 0,
      remainder: .merge),
    Recipe(
      epochs: 2, optimizer: .adam(Adam(weightDecay: .coupled(1e-3))), schedule: .constant,
      clipping: .value(0.5), checkpointing: true),
    Recipe(
      epochs: 2, optimizer: .adam(Adam(beta1: 0.8, epsilon: 1e-6, weightDecay: .decoupled(0.02))),
      schedule: .oneCycle(rise: 0.2, start: 0.1, end: 0.01)),
  ]

  @Test(arguments: recipes) func comeBack(recipe: Recipe) throws {
    #expect(try decode(JSONText.encode(recipe, isForPeople: true)) == recipe)
    // Changes of everything leave nothing of another recipe.
    for other in Self.recipes where other.augmentation == nil && other.clipping == nil {
      var changed = try other.changed(by: RecipeChanges(recipe))
      changed.averageDecay = recipe.averageDecay
      #expect(changed == recipe)
    }
  }

  /// What is not mentioned stays, numbers of the same optimiser included.
  @Test func partsChange() throws {
    let base = Self.recipes[0]
    var wanted = base
    wanted.optimizer = .sgd(SGD(learningRate: 0.2, momentum: 0.85, nesterov: true))
    wanted.clipping = nil
    wanted.averageDecay = nil
    let text =
      #"{"optimizer": {"learning_rate": 0.2}, "clipping": {"norm": 0}, "average_decay": 0}"#
    #expect(try decode(text, from: base) == wanted)
    #expect(try base.changed(by: RecipeChanges()) == base)
    let adam = try decode(#"{"optimizer": {"name": "adamw"}}"#, from: base)
    #expect(adam.optimizer == .adam(Adam(weightDecay: .decoupled(0.01))))
    let course = try decode(#"{"schedule": {"name": "step", "every_epochs": 4}}"#, from: base)
    #expect(course.schedule == .step(everyEpochs: 4, factor: 0.1))
  }

  /// Each sentence names what is wrong.
  @Test(arguments: [
    (#"{"optimizer": {"name": "adams"}}"#, ["adams", "sgd, sgdw, adam, adamw"]),
    (#"{"optimizer": {"beta1": 0.5}}"#, ["sgd", "beta1"]),
    (#"{"optimizer": {"name": "adam", "nesterov": true}}"#, ["adam", "nesterov"]),
    (#"{"schedule": {"name": "cosinus"}}"#, ["cosinus", "one-cycle"]),
    (#"{"schedule": {"name": "constant", "floor": 0.1}}"#, ["constant", "floor"]),
    (#"{"clipping": {"norm": 1, "value": 1}}"#, ["not both"]),
    (#"{"epochs": "many"}"#, ["epochs"]),
  ]) func mistakesAreNamed(text: String, words: [String]) throws {
    let error = #expect(throws: (any Error).self) { try decode(text, from: Self.recipes[0]) }
    for word in words { #expect("\(error as Any)".contains(word), "\(error as Any)") }
  }

  @Test func schedulesThatCannotBeAreRefused() throws {
    let data = try bands(16, size: 6, classes: 2, seed: 1)
    let model = try Model(initializing: smallNetwork(size: 6, classes: 2), seed: 1)
    for course: RateCourse in [
      .step(everyEpochs: 0, factor: 0.1), .step(everyEpochs: .max, factor: 0.1),
      .step(everyEpochs: 1, factor: .nan), .cosine(floor: 2), .oneCycle(rise: -1, start: 0, end: 0),
    ] {
      let recipe = Recipe(
        epochs: 1, batchSize: 8, optimizer: .adam(Adam()), schedule: course)
      #expect(throws: TrainingError.self, "\(course)") {
        try recipe.trainer(for: model, data: data, seed: 1)
      }
    }
    let endless = Recipe(epochs: .max, batchSize: 8, optimizer: .adam(Adam()))
    #expect(throws: TrainingError.self) { try endless.trainer(for: model, data: data, seed: 1) }
  }

  /// The key nearest to a mistyped one, wherever it stands.
  @Test func unknownKeysAreFound() throws {
    func tree(_ text: String) throws -> JSONTree {
      try JSONText.decode(JSONTree.self, from: text, of: "file", part: "text")
    }
    let known = try tree(#"{"seed": 0, "recipe": {"epochs": 1, "optimizer": {"momentum": 1}}}"#)
    func unknown(_ text: String) throws -> [String]? {
      try tree(text).unknownKey(beside: known).map { [$0.key, $0.nearest] }
    }
    #expect(try unknown(#"{"seed": 3, "recipe": {"optimizer": {}}}"#) == nil)
    #expect(try unknown(#"{"sead": 3}"#) == ["sead", "seed"])
    #expect(try unknown(#"{"recipe": {"optimiser": {}}}"#) == ["optimiser", "optimizer"])
    #expect(
      try unknown(#"{"recipe": {"optimizer": {"Momentum": 1}}}"#) == ["Momentum", "momentum"])
  }
}
