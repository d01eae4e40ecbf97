import ConvNetFormats
import Synchronization

/// What becomes of image files that cannot be read.
public enum UnreadablePolicy: String, Hashable, Sendable, CaseIterable {
  /// The first ends the work, with an error that names it.
  case error
  /// In training the next readable image of the same class takes its place; where a model is measured
  /// it is left out. `ImageFolder.unreadable` lists them.
  case skip
}

/// The files that could not be read so far, noted by several threads.
final class UnreadableFiles: Sendable {
  private let errors = Mutex<[Int: FileError]>([:])

  /// Why a file could not be read, where that is known.
  subscript(index: Int) -> FileError? { errors.withLock { $0[index] } }

  /// Notes a file, once.
  func note(_ index: Int, _ error: FileError) {
    errors.withLock { errors in
      if errors[index] == nil { errors[index] = error }
    }
  }

  /// All of them, in the order of the files.
  var all: [FileError] {
    errors.withLock { errors in errors.sorted { $0.key < $1.key }.map(\.value) }
  }
}
