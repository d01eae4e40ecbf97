import ConvNetEngine
import ConvNetGraph
import ConvNetTraining
import Testing

/// The recipes that come with the networks.
@Suite struct RecipeTests {
  @Test(arguments: Network.allCases) func everyNetworkHasThemAll(_ network: Network) throws {
    #expect(try Recipe.named("standard", for: network) == .standard(for: network))
    let standard = Recipe.standard(for: network)
    #expect(standard.augmentation == nil && standard.labelSmoothing == 0)
    let (fast, best) = try (
      Recipe.named("fast", for: network), Recipe.named("best", for: network)
    )
    #expect(fast == .recipe(.fast, for: network) && best == .recipe(.best, for: network))
    #expect(fast.epochs < best.epochs)
    for recipe in [standard, fast, best] {
      #expect(recipe.epochs >= 1 && recipe.batchSize == 128)
      try recipe.optimizer.check()
    }
  }

  @Test func unknownNamesAreSentences() throws {
    let error = #expect(throws: TrainingError.self) {
      try Recipe.named("tasty", for: .fashion)
    }
    #expect(
      error?.description == "there is no recipe named “tasty”; there are: standard, fast, best")
  }

  /// Both train on few images of another size, and learn bands of light.
  @Test(arguments: Recipe.Purpose.allCases) func theyLearn(_ purpose: Recipe.Purpose) throws {
    let data = try bands(48, size: 8, classes: 2, seed: 31)
    let graph = try smallNetwork(size: 8, classes: 2)
    var recipe = Recipe.recipe(purpose, for: .fashionResNet)
    (recipe.epochs, recipe.batchSize, recipe.augmentation) = (4, 8, nil)
    let trainer = try recipe.trainer(
      for: try Model(initializing: graph, seed: 1), data: data, seed: 1, lanes: Lanes(count: 1))
    try trainer.run(epochs: recipe.epochs, data: data)
    #expect(try trainer.evaluate(data).accuracy >= 0.9)
  }
}
