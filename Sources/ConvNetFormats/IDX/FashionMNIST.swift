/// Zalando's pictures of clothes: 60 000 to train on and 10 000 to test with, 28×28 bytes, ten
/// classes (Xiao, Rasul & Vollgraf 2017).
public enum FashionMNIST {
  /// The names of the ten classes, in the order of their numbers.
  public static let classNames = [
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
    "Ankle boot",
  ]

  /// Where Debian's package puts the files.
  public static let debianDirectory = "/usr/share/datasets/fashion-mnist"

  /// Loads the data set.
  ///
  /// - Parameter directory: the folder with the four files, plain or compressed.
  /// - Throws: `FileError`, which for a missing folder says what to install.
  public static func load(directory: String = debianDirectory) throws -> ImageDataset {
    guard SystemCall.exists(directory) else {
      throw FileError(
        .missing,
        "Fashion-MNIST is not there; on Debian: apt-get install dataset-fashion-mnist",
        at: directory)
    }
    return try IDXFolder.load(directory, classNames: classNames)
  }
}
