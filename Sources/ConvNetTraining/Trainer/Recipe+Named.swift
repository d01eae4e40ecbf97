public import ConvNetGraph

extension Recipe {
  /// What a recipe is for.
  public enum Purpose: String, Sendable, Hashable, CaseIterable {
    /// Four or five epochs without changes of the images, to see that something learns.
    case standard
    /// As much as can be learned in a minute: 92 % of Fashion-MNIST's test images by `fashion`.
    case fast
    /// As accurate as ten minutes allow: 94 % of Fashion-MNIST's test images by `fashion-resnet`.
    case best
  }

  /// The recipe of a name: `standard`, `fast` or `best`.
  ///
  ///     let recipe = try Recipe.named("best", for: .fashionResNet)
  ///
  /// - Throws: `TrainingError` listing the names there are.
  public static func named(_ name: String, for network: Network) throws -> Recipe {
    guard let purpose = Purpose(rawValue: name) else {
      let known = Purpose.allCases.map(\.rawValue).joined(separator: ", ")
      throw TrainingError(
        .invalidOption, "there is no recipe named “\(name)”; there are: \(known)")
    }
    return recipe(purpose, for: network)
  }

  /// The recipe of a network for a purpose.
  public static func recipe(_ purpose: Purpose, for network: Network) -> Recipe {
    switch purpose {
    case .standard: standard(for: network)
    case .fast: fast(for: network)
    case .best: best(for: network)
    }
  }

  /// Few epochs at a high rate on images that are mirrored only, because shifts take longer to pay.
  private static func fast(for network: Network) -> Recipe {
    Recipe(
      epochs: [.lenet, .fashion].contains(network) ? 6 : 2, optimizer: sgd(rate: 0.1),
      augmentation: Augmentation(horizontalFlip: true))
  }

  /// Mirrored and shifted images and smoothed labels, until the rate has come down slowly.
  private static func best(for network: Network) -> Recipe {
    Recipe(
      epochs: 14, optimizer: sgd(rate: 0.1), labelSmoothing: 0.1, augmentation: .light)
  }

  /// Nesterov's momentum of 0.9 and a penalty of 5e-4/2·w², of which convolutional networks ask little else.
  static func sgd(rate: Double) -> Optimizer {
    .sgd(SGD(learningRate: rate, nesterov: true, weightDecay: .coupled(5e-4)))
  }
}
