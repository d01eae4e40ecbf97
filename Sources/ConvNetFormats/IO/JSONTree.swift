/// The shape of a JSON text: its keys, whatever the values are.
package indirect enum JSONTree: Decodable, Hashable, Sendable {
  case object([String: JSONTree])
  case array([JSONTree])
  case value

  package init(from decoder: any Decoder) throws {
    if let object = try? decoder.singleValueContainer().decode([String: JSONTree].self) {
      self = .object(object)
    } else if let array = try? decoder.singleValueContainer().decode([JSONTree].self) {
      self = .array(array)
    } else {
      self = .value
    }
  }

  /// A key that another tree does not have, with the nearest one that it has in the same place.
  ///
  /// - Parameter known: an example with all keys there are; where it has a value instead of an object
  ///   any keys may stand.
  package func unknownKey(beside known: JSONTree) -> (key: String, nearest: String)? {
    switch (self, known) {
    case (.object(let object), .object(let known)):
      for (key, tree) in object.sorted(by: { $0.key < $1.key }) {
        guard let example = known[key] else {
          let nearest = known.keys.sorted().min { key.distance(to: $0) < key.distance(to: $1) }
          return (key, nearest ?? "")
        }
        if let found = tree.unknownKey(beside: example) { return found }
      }
    case (.array(let array), .array(let known)):
      guard let example = known.first else { return nil }
      return array.lazy.compactMap { $0.unknownKey(beside: example) }.first
    default: break
    }
    return nil
  }
}

extension String {
  /// The least number of characters to insert, remove or replace to get another string (Levenshtein
  /// 1966); of long strings only the beginning counts.
  func distance(to other: String) -> Int {
    let (a, b) = (Array(prefix(64)), Array(other.prefix(64)))
    var row = Array(0...b.count)
    for i in a.indices {
      var diagonal = row[0]
      row[0] = i + 1
      for j in b.indices {
        let replaced = diagonal + (a[i] == b[j] ? 0 : 1)
        diagonal = row[j + 1]
        row[j + 1] = Swift.min(replaced, row[j] + 1, diagonal + 1)
      }
    }
    return row[b.count]
  }
}
