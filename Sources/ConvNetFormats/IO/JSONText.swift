import FoundationEssentials

/// Values as JSON text and back, the same way for everything that this package saves.
package enum JSONText {
  /// Deep enough for all that this package writes, and shallow enough for any stack.
  static let depthLimit = 64
  private static let (infinity, negativeInfinity, nan) = ("inf", "-inf", "nan")

  /// A value as JSON: keys are sorted, and the same value always gives the same text.
  ///
  /// - Parameter isForPeople: spreads it over lines, with keys in snake case.
  package static func encode(_ value: some Encodable, isForPeople: Bool = false) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    if isForPeople {
      encoder.outputFormatting.insert(.prettyPrinted)
      encoder.keyEncodingStrategy = .convertToSnakeCase
    }
    encoder.nonConformingFloatEncodingStrategy = .convertToString(
      positiveInfinity: infinity, negativeInfinity: negativeInfinity, nan: nan)
    return String(decoding: try encoder.encode(value), as: UTF8.self)
  }

  /// The value of a JSON text.
  ///
  /// - Parameters:
  ///   - path: the file it comes from.
  ///   - part: what the text is, for messages, such as “graph”.
  ///   - isForPeople: as it was written.
  ///   - userInfo: what decoders may ask for.
  /// - Throws: `FileError`, whatever the text is.
  package static func decode<Value: Decodable>(
    _ type: Value.Type, from text: String, of path: String, part: String,
    isForPeople: Bool = false, userInfo: [CodingUserInfoKey: any Sendable] = [:]
  ) throws -> Value {
    try TextCursor.checkJSONDepth(text, limit: depthLimit, of: path, part: part)
    let decoder = JSONDecoder()
    if isForPeople { decoder.keyDecodingStrategy = .convertFromSnakeCase }
    decoder.nonConformingFloatDecodingStrategy = .convertFromString(
      positiveInfinity: infinity, negativeInfinity: negativeInfinity, nan: nan)
    decoder.userInfo = userInfo
    do {
      return try decoder.decode(type, from: Data(text.utf8))
    } catch let error as DecodingError {
      // Foundation takes a number that does not fit its type for JSON that is not valid.
      if case .dataCorrupted(let context) = error, context.codingPath.isEmpty,
        (try? decoder.decode(JSONTree.self, from: Data(text.utf8))) != nil
      {
        throw FileError(
          .malformed, "the \(part) has a negative or broken number where a count is wanted",
          at: path)
      }
      throw FileError(.malformed, "the \(part) is not one: \(reason(error))", at: path)
    } catch {
      throw FileError(.malformed, "the \(part) is not one: \(error)", at: path)
    }
  }

  /// The place and the sentence of a decoder's error.
  private static func reason(_ error: DecodingError) -> String {
    let context: DecodingError.Context
    switch error {
    case .typeMismatch(_, let given), .valueNotFound(_, let given), .keyNotFound(_, let given),
      .dataCorrupted(let given):
      context = given
    @unknown default: return "it cannot be decoded"
    }
    let place = context.codingPath.map { $0.intValue.map(String.init) ?? $0.stringValue }
      .joined(separator: ".")
    return place.isEmpty ? context.debugDescription : "\(place): \(context.debugDescription)"
  }
}
